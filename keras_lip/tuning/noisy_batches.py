"""Batches of images with noise, for training."""

from typing import Any

import keras
import numpy as np


class NoisyBatches(keras.utils.PyDataset):
    """Batches in a new order, and with new Gaussian noise, every epoch.

    Args:
        x: Array of images.
        y: Array of labels.
        batch_size: Positive integer.
        stddev: Float, at least zero. Standard deviation of the noise.
        seed: Integer.
    """

    def __init__(
        self, x: Any, y: Any, batch_size: int, stddev: float, seed: int
    ) -> None:
        super().__init__()
        self.x, self.y = x, y
        self.batch_size, self.stddev = batch_size, stddev
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        noise = self.rng.normal(0, self.stddev, self.x[chosen].shape)
        return (self.x[chosen] + noise).astype("float32"), self.y[chosen]

    def on_epoch_end(self) -> None:
        self.order = self.rng.permutation(len(self.x))
