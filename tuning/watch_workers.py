"""The chief's watch over its workers."""

import threading
from typing import Any


def watch_workers(oracle: Any, timeout: float) -> None:
    """Gives up workers that are silent for too long, from now on.

    A thread looks after them for as long as the process runs.

    Args:
        oracle: The chief's `DurableOracle`.
        timeout: Positive float. Seconds of silence.
    """
    pause = threading.Event()

    def watch() -> None:
        while not pause.wait(timeout / 10):
            oracle.release_silent(timeout)

    threading.Thread(target=watch, name="watch_workers", daemon=True).start()
