"""Runs an example of which the second process kills itself, once.

    python -m tests.examples.dying_worker NAME EPOCH FOLDER [ARGUMENT ...]

It does so before epoch `EPOCH`, when the first process has saved the one
before, unless an earlier run left a mark in `FOLDER`. The example runs with the
arguments.
"""

import inspect
import os
import pathlib
import signal
import sys
import time

from tests.load_script import load_example


def main():
    name, epoch, folder, *arguments = sys.argv[1:]
    mark = pathlib.Path(folder) / "killed"
    example = load_example(name)
    train_epoch = example.train_epoch
    signature = inspect.signature(train_epoch)

    def train_or_die(*args):
        given = signature.bind(*args).arguments
        settings = given["settings"]
        process = given.get("rank", getattr(settings, "process", 0))
        if given["epoch"] == int(epoch) and process == 1 and not mark.exists():
            while not (mark.parent / f"epoch_{int(epoch):04}.keras").exists():
                time.sleep(0.01)
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return train_epoch(*args)

    example.train_epoch = train_or_die
    example.main(arguments)


if __name__ == "__main__":
    main()
