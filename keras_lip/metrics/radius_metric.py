"""The base class of metrics that count what is certified at a radius."""

import abc
from typing import Any

from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.types import Config


class RadiusMetric(CertifiedMetric, abc.ABC):
    """Averages a value that depends on a radius.

    Subclasses implement `measure`.

    Args:
        epsilon: Non-negative float. Norm of the perturbations. It may be
            assigned again, and the next evaluation uses the new one.
        lipschitz_bound: As in `CertifiedMetric`.
        **kwargs: Further arguments of `CertifiedMetric`.
    """

    def __init__(
        self,
        epsilon: float,
        lipschitz_bound: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(lipschitz_bound, **kwargs)
        self._epsilon = self.add_number("epsilon", epsilon)

    @property
    def epsilon(self) -> float:
        """The radius."""
        return self._epsilon.value

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self._epsilon.assign(value)

    def get_config(self) -> Config:
        return {**super().get_config(), "epsilon": self.epsilon}
