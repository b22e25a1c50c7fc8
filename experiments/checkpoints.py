"""Checkpoints that a run is taken up from, and the time it has taken."""

import hashlib
import json
import pathlib
import time

import keras

from keras_lip.files import write_json

_SUFFIX = ".weights.h5"


class Checkpoints(keras.callbacks.ModelCheckpoint):
    """Saves weights and the optimizer's state after every epoch.

    Beside each file lies its SHA-256, which is written last. The newest files
    are kept: while one is written, the one before it is whole.

    Args:
        folder: Where to.
        keep: How many are kept.
    """

    def __init__(self, folder, keep=2):
        self.folder = pathlib.Path(folder)
        super().__init__(
            str(self.folder / ("{epoch:05d}" + _SUFFIX)), save_weights_only=True
        )
        self.keep = keep

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        path = self.folder / f"{epoch + 1:05d}{_SUFFIX}"
        _digest_file(path).write_text(_digest(path))
        for old in find_checkpoints(self.folder)[self.keep :]:
            old.unlink()
            _digest_file(old).unlink(missing_ok=True)


class Stopwatch(keras.callbacks.Callback):
    """Keeps the seconds of every epoch, of those before a stop as well.

    Args:
        path: Where to.
        first_epoch: Epoch to start at. Later ones are run again.
    """

    def __init__(self, path, first_epoch=0):
        super().__init__()
        self.path = pathlib.Path(path)
        known = json.loads(self.path.read_text()) if self.path.exists() else []
        self.seconds = known[:first_epoch]

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(round(time.perf_counter() - self._began, 3))
        write_json(self.path, self.seconds)


def find_checkpoints(folder):
    """Returns the checkpoints of a folder, the newest first."""
    return sorted(pathlib.Path(folder).glob("*" + _SUFFIX), reverse=True)


def restore(model, folder):
    """Loads the newest checkpoint that is whole.

    Others are refused, with a line that says so, and left where they are.

    Args:
        model: A compiled model.
        folder: Where its checkpoints are.

    Returns:
        The number of epochs that were finished: 0 if there is no checkpoint.

    Raises:
        SystemExit: If there are checkpoints, and none is whole.
    """
    paths = find_checkpoints(folder)
    for path in paths:
        digest = _digest_file(path)
        if digest.exists() and digest.read_text() == _digest(path):
            # What it has not built yet, it does not load.
            model.optimizer.build(model.trainable_variables)
            model.load_weights(path)
            return int(path.name.removesuffix(_SUFFIX))
        print(f"Refused: {path} is not what was saved, or not whole.")
    if paths:
        raise SystemExit(
            f"No checkpoint in {folder} is whole. Start again, with another "
            "--output."
        )
    return 0


def _digest_file(path):
    return path.with_name(path.name + ".sha256")


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
