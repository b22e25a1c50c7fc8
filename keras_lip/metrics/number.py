"""A number of a metric that compiled steps read from a variable."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Tensor
from keras_lip.validation import check_number


class Number:
    """A non-negative number that may be assigned after steps were compiled.

    A number of Python would be a constant of the compiled step, which would
    ignore another one.

    Args:
        metric: The metric, which gets the variable.
        name: String. Name of the number.
        value: Float, at least zero.
    """

    def __init__(
        self, metric: keras.metrics.Metric, name: str, value: float
    ) -> None:
        self._name = name
        # On JAX a variable cannot be read while a model trains.
        self.value = check_number(name, value, 0.0)
        self._variable = metric.add_variable(
            (),
            keras.initializers.Constant(float32_up(self.value)),
            dtype="float32",
            aggregation="only_first_replica",
            name=name,
        )

    def assign(self, value: float) -> None:
        """Assigns another value.

        Raises:
            ValueError: If it is negative or not finite.
        """
        self.value = check_number(self._name, value, 0.0)
        self._variable.assign(float32_up(self.value))

    def read(self) -> Tensor:
        """Returns a float32 tensor that is no less than the value."""
        return ops.convert_to_tensor(self._variable)


def float32_up(values: Any) -> Any:
    """Rounds float64 numbers up to float32."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(values, dtype="float64").astype("float32")
    above = np.nextafter(rounded, np.float32(np.inf))
    return np.where(rounded < values, above, rounded).astype("float32")
