"""The outcome of a certification."""

import dataclasses
import json
import pathlib

import numpy as np

from keras_lip.certificates.report_files import draw_curves
from keras_lip.certificates.report_files import render_page
from keras_lip.certificates.report_files import write_file
from keras_lip.types import Array
from keras_lip.validation import check_number
from keras_lip.version import __version__


@dataclasses.dataclass
class CertificationReport:
    """What was proven of a model on a data set.

    Made by `keras_lip.certificates.certify`.

    Args:
        model_name: Name of the model.
        lipschitz_bound: Float. Proven bound of the whole model, in the l2 norm.
        method: String. How margins become radii.
        epsilons: Tuple of floats. Radii that the report lists.
        radius: Array of shape `(num_samples,)`, float64. The prediction of
            sample `i` is that of every input closer than `radius[i]`, in l2.
        prediction: Integer array of shape `(num_samples,)`.
        label: Integer array of shape `(num_samples,)`.
        attacks: Dict of measured accuracies to show beside the certified ones:
            `{title: {epsilon: accuracy}}`.
    """

    model_name: str
    lipschitz_bound: float
    method: str
    epsilons: tuple[float, ...]
    radius: Array
    prediction: Array
    label: Array
    attacks: dict[str, dict[float, float]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def accuracy(self) -> float:
        """Share of samples that are classified correctly."""
        return float(np.mean(self.prediction == self.label))

    def certified_accuracy(self, epsilon: float) -> float:
        """Returns the share of samples proven correct within a radius.

        Args:
            epsilon: Float, at least zero. Norm of the perturbations.

        Returns:
            Float. The share of samples whose label is predicted for *every*
            input at an l2 distance of at most `epsilon`.

        Raises:
            ValueError: If `epsilon` is negative or not finite.
        """
        epsilon = check_number("epsilon", epsilon, 0.0)
        correct = self.prediction == self.label
        return float(np.mean(correct & (self.radius > epsilon)))

    def curve(self, num_points: int = 101) -> tuple[Array, Array]:
        """Returns the certified accuracy against the radius.

        Args:
            num_points: Integer. Number of radii, evenly spaced from zero to the
                largest one of a correct sample.

        Returns:
            Tuple of the radii and the certified accuracies at them.
        """
        correct = self.radius[self.prediction == self.label]
        largest = max([*self.epsilons, float(np.max(correct, initial=0.0))])
        radii = np.linspace(0.0, largest, num_points)
        accuracies = [self.certified_accuracy(radius) for radius in radii]
        return radii, np.array(accuracies)

    def to_json(self) -> str:
        """Returns the report as JSON text."""
        return json.dumps(
            {
                "keras_lip_version": __version__,
                "model_name": self.model_name,
                "norm": "l2",
                "lipschitz_bound": _finite_or_text(self.lipschitz_bound),
                "method": self.method,
                "num_samples": len(self.radius),
                "accuracy": self.accuracy,
                "certified_accuracy": [
                    {"epsilon": epsilon, "accuracy": accuracy}
                    for epsilon, accuracy in self._certified()
                ],
                "attacks": [
                    {"attack": title, "epsilon": epsilon, "accuracy": accuracy}
                    for title, accuracies in self.attacks.items()
                    for epsilon, accuracy in accuracies.items()
                ],
                "radius": self.radius.tolist(),
                "prediction": self.prediction.tolist(),
                "label": self.label.tolist(),
            },
            indent=2,
        )

    def save(
        self, path: str | pathlib.Path, overwrite: bool = False
    ) -> pathlib.Path:
        """Writes the report to a file, whole or not at all.

        Args:
            path: Path that ends in `.json`; in `.html`, for a page with the
                table and the curves; or in `.png`, for the curves alone.
            overwrite: Boolean. Whether an existing file may be replaced.

        Returns:
            The path written.

        Raises:
            ValueError: If the path ends in something else, exists already or
                cannot be written to.
            ImportError: If the extra `report` is not installed, which `.html`
                and `.png` need.
        """
        makers = {
            ".json": lambda: self.to_json().encode(),
            ".html": lambda: render_page(self, self._certified()).encode(),
            ".png": lambda: draw_curves(self),
        }
        path = pathlib.Path(path)
        if path.suffix not in makers:
            raise ValueError(
                "The path of a report must end in .json, .html or .png. "
                f"Received: {str(path)!r}"
            )
        return write_file(path, makers[path.suffix], overwrite)

    def __str__(self) -> str:
        lines = [
            f"Model {self.model_name!r}, {len(self.radius)} samples",
            f"Lipschitz bound (l2, proven): {self.lipschitz_bound:.8g}",
            f"Method: {self.method}",
            f"Accuracy: {self.accuracy:.2%}",
        ]
        lines += [
            f"Certified accuracy at {epsilon:.4g}: {accuracy:.2%}"
            for epsilon, accuracy in self._certified()
        ]
        return "\n".join(lines)

    def _certified(self) -> list[tuple[float, float]]:
        return [
            (epsilon, self.certified_accuracy(epsilon))
            for epsilon in self.epsilons
        ]


def _finite_or_text(value: float) -> float | str:
    # JSON has no infinity.
    return value if np.isfinite(value) else str(value)
