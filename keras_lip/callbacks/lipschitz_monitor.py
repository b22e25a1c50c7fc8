"""Logs the bound, singular values and dead gradients of a network."""

from typing import Any

import keras
import numpy as np

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds.common_norm import common_norm
from keras_lip.callbacks.dead_gradients import dead_gradients
from keras_lip.layers.core.base_dense import BaseDense
from keras_lip.model_layers import named_layers
from keras_lip.read_weight import read_kernel


class LipschitzMonitor(keras.callbacks.Callback):
    """Adds the bound, singular values and dead gradients to the logs.

    At the end of each epoch the callback adds these values of the current
    weights to the logs, for callbacks such as `History`,
    `keras.callbacks.CSVLogger` and `TensorBoard`. Put the monitor before them
    in the list of callbacks.

    - `lipschitz_bound`: the proven bound of the model in the l2 norm, from
      `keras_lip.bounds.lipschitz_bound`.
    - `sigma_min/<layer>`, `sigma_max/<layer>`: the smallest and largest
      singular value of the kernel used at inference, computed in float64 on the
      host. The number of singular values is the shorter side of the kernel.
      They are only computed for layers that multiply by one matrix:
      `keras.layers.Dense` and the dense layers of `keras_lip.layers`. Residual
      blocks, convolutions and other layers have no entry, because their kernel
      is not the matrix of the layer.
    - `dead_gradient/<layer>`: the fraction of entries of the layer's output at
      which the gradient of the compiled loss is exactly zero, on a sample batch
      with the model in inference mode. An entry is dead if the following layers
      and the loss pass no gradient to it. To see which units an activation
      makes dead, use a separate activation layer and look at the entry of the
      layer before it. A sample with a flat loss, such as a hinge loss beyond
      the margin, is dead in every layer.

    Layers of a nested model are named `<model>/<layer>`.

    Args:
        lipschitz_bound: Boolean. Whether to compute the bound, which is slow
            for large kernels. Defaults to `True`.
        singular_values: Boolean. Whether to compute singular values. The cost
            is cubic in the sides of the kernels. Defaults to `True`.
        sample_batch: Tuple of arrays `(x, y)` on which to measure dead
            gradients, or `None` to skip them. It needs one gradient per epoch,
            computed layer by layer and without compilation. Defaults to `None`.

    Raises:
        TypeError: If `lipschitz_bound` or `singular_values` is not a boolean.
        ValueError: If `sample_batch` is not a tuple of two arrays with the same
            number of samples. In training, if `lipschitz_bound` is `True` and a
            layer has no known bound, or if `sample_batch` is given and the
            model has several inputs or outputs.

    Example:

    >>> x, y = np.ones((8, 4)), np.zeros(8)
    >>> monitor = keras_lip.callbacks.LipschitzMonitor(
    ...     sample_batch=(x[:4], y[:4])
    ... )
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", keras_lip.losses.HKR())
    >>> history = model.fit(x, y, callbacks=[monitor], verbose=0)
    >>> "lipschitz_bound" in history.history
    True
    """

    def __init__(
        self,
        lipschitz_bound: bool = True,
        singular_values: bool = True,
        sample_batch: tuple[Any, Any] | None = None,
    ) -> None:
        super().__init__()
        _check_boolean("lipschitz_bound", lipschitz_bound)
        _check_boolean("singular_values", singular_values)
        _check_sample_batch(sample_batch)
        self.lipschitz_bound = lipschitz_bound
        self.singular_values = singular_values
        self.sample_batch = sample_batch

    def on_train_begin(self, logs: Any = None) -> None:
        if self.lipschitz_bound:
            # Find layers without a bound before the first epoch.
            common_norm(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is None:
            return
        if self.lipschitz_bound:
            logs["lipschitz_bound"] = lipschitz_bound(self.model)
        if self.singular_values:
            for name, layer in named_layers(self.model):
                if _multiplies_by_kernel(layer):
                    values = _singular_values(layer)
                    logs[f"sigma_min/{name}"] = float(np.min(values))
                    logs[f"sigma_max/{name}"] = float(np.max(values))
        if self.sample_batch is not None:
            shares = dead_gradients(self.model, *self.sample_batch)
            for name, share in shares.items():
                logs[f"dead_gradient/{name}"] = share


def _check_boolean(name: str, value: Any) -> None:
    # A batch passed as a boolean argument would enable it, and would not be
    # used.
    if not isinstance(value, bool):
        raise TypeError(
            f"`{name}` must be `True` or `False`. Pass data by name, as "
            f"`sample_batch=(x, y)`. Received: {name} of type "
            f"`{type(value).__name__}`"
        )


def _check_sample_batch(sample_batch: Any) -> None:
    if sample_batch is None:
        return
    if not (isinstance(sample_batch, tuple) and len(sample_batch) == 2):
        raise ValueError(
            "`sample_batch` must be a tuple of two arrays, `(x, y)`. "
            f"Received: {type(sample_batch).__name__}"
        )
    x, y = (tuple(np.shape(array)) for array in sample_batch)
    if not x or not y or x[0] != y[0] or x[0] == 0:
        raise ValueError(
            "`sample_batch` must contain the same number of inputs and labels, "
            f"at least one. Received: x.shape={x}, y.shape={y}"
        )


def _multiplies_by_kernel(layer: Any) -> bool:
    # A subclass of `Dense` may use its kernel differently.
    return type(layer) is keras.layers.Dense or isinstance(layer, BaseDense)


def _singular_values(layer: Any) -> Any:
    kernel = read_kernel(layer, layer.kernel)
    if not np.isfinite(kernel).all():
        # NumPy raises an error for non-finite kernels, but training that
        # diverges should continue.
        return np.full(1, np.nan)
    return np.linalg.svd(kernel, compute_uv=False)
