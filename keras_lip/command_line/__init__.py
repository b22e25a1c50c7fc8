"""Commands for models in files: `info`, `audit`, `certify` and `export`."""

from keras_lip.command_line.main import main as main

__all__ = ("main",)


def __dir__() -> tuple[str, ...]:
    return __all__
