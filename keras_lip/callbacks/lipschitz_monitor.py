"""What a Lipschitz network looks like from inside, epoch by epoch."""

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

    At the end of each epoch the logs receive numbers of the weights as they
    then are, for `History`, `keras.callbacks.CSVLogger`, `TensorBoard` and the
    like. Put the monitor before those in the list of callbacks.

    - `lipschitz_bound`: the proven bound of the model, in the l2 norm, as of
      `keras_lip.bounds.lipschitz_bound`.
    - `sigma_min/<layer>`, `sigma_max/<layer>`: the least and the largest
      singular value of the kernel that runs, by a decomposition in float64 on
      the host. There are as many singular values as the shorter side is long.
      They are computed of layers that multiply by one matrix:
      `keras.layers.Dense` and the densely-connected layers of
      `keras_lip.layers`. Residual blocks, convolutions and other layers have no
      entry: their kernel is not the matrix of the layer.
    - `dead_gradient/<layer>`: on a sample batch, the share of the entries of
      the layer's output at which the gradient of the compiled loss is exactly
      zero, with the model at inference. It counts what the layers that follow,
      and the loss, let no gradient through: put an activation in a layer of its
      own to see in the entry of the layer before it which units it deadens.
      A sample whose loss is flat, such as a hinge loss beyond the margin, is
      dead in every layer.

    The layer of a nested model is named `<model>/<layer>`.

    Args:
        lipschitz_bound: Boolean. Whether to measure the bound, which takes a
            while where kernels are large. Defaults to `True`.
        singular_values: Boolean. Whether to decompose the kernels, at a cost
            that grows with the cube of their sides. Defaults to `True`.
        sample_batch: Tuple of arrays `(x, y)` to measure dead gradients on, or
            `None` not to. It takes one gradient, evaluated layer by layer and
            without compilation. Defaults to `None`.

    Raises:
        TypeError: If `lipschitz_bound` or `singular_values` is no boolean.
        ValueError: If `sample_batch` is no tuple of two arrays of as many
            samples. In training, if the bound is asked for and none is known of
            a layer, or if dead gradients are asked for of a model with several
            inputs or outputs.

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
            # A layer without a bound is known before the first epoch.
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
    # A batch in the place of a switch would switch it on, and not be measured.
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
            "`sample_batch` must hold as many inputs as labels, and at least "
            f"one of each. Received: x.shape={x}, y.shape={y}"
        )


def _multiplies_by_kernel(layer: Any) -> bool:
    # A subclass of `Dense` may do anything with its kernel.
    return type(layer) is keras.layers.Dense or isinstance(layer, BaseDense)


def _singular_values(layer: Any) -> Any:
    kernel = read_kernel(layer, layer.kernel)
    if not np.isfinite(kernel).all():
        # NumPy does not decompose it, and training that diverges goes on.
        return np.full(1, np.nan)
    return np.linalg.svd(kernel, compute_uv=False)
