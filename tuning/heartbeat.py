"""Signs of life of a worker."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any


class Heartbeat:
    """Calls a function now and then, in a thread, while a block runs.

    Args:
        beat: Function that tells the chief that the worker lives. An error of
            the connection is let pass: the next call may come through.
        interval: Float. Seconds between two calls.
    """

    def __init__(self, beat: Callable[[], Any], interval: float) -> None:
        self.beat = beat
        self.interval = interval
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()

    def _run(self) -> None:
        import grpc

        while not self._over.wait(self.interval):
            try:
                self.beat()
            except grpc.RpcError:
                continue
