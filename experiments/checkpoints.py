"""Checkpoints to resume a run from, and the seconds of its epochs."""

import hashlib
import json
import pathlib
import time

import keras

from keras_lip.files import write_json

_SUFFIX = ".weights.h5"


class Checkpoints(keras.callbacks.ModelCheckpoint):
    """Saves the weights and the optimizer's state after every epoch.

    The SHA-256 of each file is written next to it, when the file is complete.
    Only the newest files are kept. While one is written, the one before it
    stays complete.

    Args:
        folder: Path of the folder to write to.
        keep: Number of files to keep.
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
    """Records the time of every epoch, also across interruptions.

    Args:
        path: Path of the JSON file. It contains a list with an entry for each
            epoch: `seconds`, and `cpu_seconds`, the processor time of all
            threads together.
        first_epoch: Epoch to start at. Recorded times from this epoch on are
            discarded.
    """

    def __init__(self, path, first_epoch=0):
        super().__init__()
        self.path = pathlib.Path(path)
        known = json.loads(self.path.read_text()) if self.path.exists() else []
        self.epochs = known[:first_epoch]

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._began[0]
        cpu_seconds = time.process_time() - self._began[1]
        self.epochs.append(
            {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}
        )
        write_json(self.path, self.epochs)

    def total(self, name):
        """Returns the sum over all epochs."""
        return round(sum(epoch[name] for epoch in self.epochs), 1)


def find_checkpoints(folder):
    """Returns the checkpoints in a folder, newest first."""
    return sorted(pathlib.Path(folder).glob("*" + _SUFFIX), reverse=True)


def restore(model, folder):
    """Loads the newest complete checkpoint.

    Newer checkpoints that are incomplete are reported and left in place.

    Args:
        model: A compiled model.
        folder: Path of the folder with its checkpoints.

    Returns:
        The number of finished epochs, or 0 if there is no checkpoint.

    Raises:
        SystemExit: If there are checkpoints, but none is complete.
    """
    paths = find_checkpoints(folder)
    for path in paths:
        digest = _digest_file(path)
        if digest.exists() and digest.read_text() == _digest(path):
            # The state of an optimizer that is not built would not be loaded.
            model.optimizer.build(model.trainable_variables)
            model.load_weights(path)
            return int(path.name.removesuffix(_SUFFIX))
        print(f"Refused: {path} is incomplete or has changed.")
    if paths:
        raise SystemExit(
            f"No checkpoint in {folder} is complete. Start a new run with "
            "another --output."
        )
    return 0


def _digest_file(path):
    return path.with_name(path.name + ".sha256")


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
