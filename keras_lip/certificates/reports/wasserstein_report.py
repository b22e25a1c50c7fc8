"""The report of a Wasserstein estimate."""

import dataclasses

from keras_lip.certificates.claims import describe_basis


@dataclasses.dataclass(frozen=True)
class WassersteinReport:
    """A Wasserstein-1 distance, estimated and bounded from below by samples.

    `keras_lip.certificates.wasserstein_lower_bound` returns it.

    Args:
        estimate: Float. Difference of the mean outputs of the critic, divided
            by its Lipschitz bound. It is an estimate of a lower bound of the
            distance, with the error of the samples.
        standard_error: Float. Standard error of `estimate`.
        lower_bound: Float. The distance is at least this number, unless the
            samples are unlucky, which has a probability of at most `1 -
            confidence`. Zero if `diameter` is `None`.
        confidence: Float. Probability with which `lower_bound` holds.
        lipschitz_bound: Float. Proven bound of the critic.
        diameter: Float, or `None` if nothing is known of the supports. Bound on
            the distance of two points of the support of one distribution.
        num_samples: Tuple of two integers. The sizes of the samples.
        norm: `"l2"` or `"linf"`. The distance between two inputs.
        claims: Tuple of strings. Names of the layers of the critic whose bounds
            a user has claimed. If they are not true, no number holds. Defaults
            to `()`.
    """

    estimate: float
    standard_error: float
    lower_bound: float
    confidence: float
    lipschitz_bound: float
    diameter: float | None
    num_samples: tuple[int, int]
    norm: str
    claims: tuple[str, ...] = ()

    def __str__(self) -> str:
        first, second = self.num_samples
        bound = f"{self.lower_bound:.6g}"
        if self.diameter is None:
            bound = "unknown without `diameter` or `bounds`"
        return "\n".join(
            [
                f"Wasserstein-1 distance ({self.norm}) of {first} and {second} "
                "samples",
                f"Lipschitz bound of the critic ({describe_basis(self.claims)})"
                f": {self.lipschitz_bound:.8g}",
                f"Estimate: {self.estimate:.6g}, standard error "
                f"{self.standard_error:.2g}",
                f"Lower bound with confidence {self.confidence:g}: {bound}",
            ]
        )
