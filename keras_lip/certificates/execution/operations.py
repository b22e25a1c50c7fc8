"""The classes of the operations of Keras, which it does not export."""

from typing import Any

import keras
from keras import ops

from keras_lip.graph import get_operation


def _find_classes() -> dict[str, type]:
    x = keras.KerasTensor((None, 2))
    made: dict[str, Any] = {
        "+": x + x,
        "-": x - x,
        "*": 2 * x,
        "/": x / 2,
        "negative": -x,
        "absolute": ops.absolute(x),
        "concatenate": ops.concatenate([x, x], axis=1),
        "convert": ops.convert_to_tensor(x),
        "index": x[:, :1],
        "maximum": ops.maximum(x, x),
        "minimum": ops.minimum(x, x),
        "moveaxis": ops.moveaxis(x, 1, 1),
        "pad": ops.pad(x, [[0, 0], [1, 1]]),
        "reshape": ops.reshape(x, (-1, 2, 1)),
        "sort": ops.sort(x, axis=1),
        "split": ops.split(x, 2, axis=1)[0],
        "stack": ops.stack([x, x], axis=1),
        "transpose": ops.transpose(x, (0, 1)),
        "unstack": ops.unstack(x, axis=1)[0],
    }
    return {name: type(get_operation(each)) for name, each in made.items()}


OPERATIONS = _find_classes()
