"""The report of an audit."""

import dataclasses
import json
import math
import pathlib

import keras
import numpy as np

from keras_lip.certificates.claims import assume_claims
from keras_lip.certificates.claims import describe_basis
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.files import check_writable
from keras_lip.files import write_file
from keras_lip.proofs.method_notes import CLAIMED
from keras_lip.version import __version__

ASSUMPTIONS = (
    "The bound holds for the real-valued function that the weights define, at "
    "inference and for inputs of the shape that the model is built for.",
    "Sums and products of float64 numbers on the host are rounded to nearest "
    "as in IEEE 754, in any order. Matrix products do not use Strassen's "
    "algorithm.",
    "Sines, cosines and square roots of float64 numbers are accurate to a few "
    "units in the last place.",
    "Layers compute the functions that their classes in keras and keras_lip "
    "document.",
)


@dataclasses.dataclass(frozen=True)
class AuditedLayer:
    """The audit of one layer or operation of a model.

    Attributes:
        name: Name of the layer.
        kind: Name of its class.
        guarantee: The guarantee of its class, or `"none"` for a layer of Keras.
        bound: Float. Upper bound on the layer's Lipschitz constant. For a layer
            that merges branches, the bound of its output divided by the largest
            bound of its inputs.
        method: String. Method of the proof. If a user has claimed the bound, it
            contains `"claimed by the user"`.
        estimate: Float or `None`. A lower bound, found by running the layer.
        share: Float. Contribution of the layer to the bound of the network: the
            logarithm of `bound` divided by the sum of the absolute logarithms
            of all layers.
        total: Float. Bound of the function from the model's input to the
            layer's output.
    """

    name: str
    kind: str
    guarantee: str
    bound: float
    method: str
    estimate: float | None
    share: float
    total: float

    @property
    def gap(self) -> float | None:
        """Relative gap between the bound and the estimate."""
        if self.estimate is None or not self.estimate > 0:
            return None
        return self.bound / self.estimate - 1


@dataclasses.dataclass(frozen=True)
class AuditReport:
    """The proven bounds of a model and of each of its layers.

    `keras_lip.certificates.audit` returns it.

    Attributes:
        model_name: Name of the model.
        norm: `"l2"` or `"linf"`. Norm of inputs and outputs.
        lipschitz_bound: Float. Proven bound of the whole model, if there are no
            `claims`.
        layers: Tuple of `AuditedLayer`, in the order of the graph.
        input_shape: Tuple. Shape of one input, `None` for unknown sizes.
        sha256: String. SHA-256 digest of the model's operations and all their
            numbers.
        pair_bounds: The constants of the margins, or `None` if the model is not
            a classifier with logits.
    """

    model_name: str
    norm: str
    lipschitz_bound: float
    layers: tuple[AuditedLayer, ...]
    input_shape: tuple[int | None, ...]
    sha256: str
    pair_bounds: PairBounds | None = dataclasses.field(repr=False)

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of the layers whose bounds a user has claimed."""
        return tuple(
            layer.name
            for layer in self.layers
            if CLAIMED in layer.method.split(", ")
        )

    @property
    def basis(self) -> str:
        """What the bound relies on: `"proven"`, or a text on the `claims`."""
        return describe_basis(self.claims)

    def to_dict(self) -> dict[str, object]:
        """Returns the audit as a dict of JSON values."""
        return {
            "keras_lip_version": __version__,
            "keras_version": keras.__version__,
            "backend": keras.backend.backend(),
            "numpy_version": np.__version__,
            "model_name": self.model_name,
            "sha256": self.sha256,
            "input_shape": list(self.input_shape),
            "norm": self.norm,
            "lipschitz_bound": finite_or_text(self.lipschitz_bound),
            "layers": [
                {
                    key: finite_or_text(value)
                    for key, value in (
                        *dataclasses.asdict(layer).items(),
                        ("gap", layer.gap),
                    )
                }
                for layer in self.layers
            ],
            "assumptions": [*ASSUMPTIONS, *assume_claims(self.claims)],
        }

    def to_json(self) -> str:
        """Returns the audit as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def save(
        self, path: str | pathlib.Path, overwrite: bool = False
    ) -> pathlib.Path:
        """Writes the audit to a file, completely or not at all.

        Args:
            path: Path that ends in `.json`.
            overwrite: Boolean. Whether an existing file may be replaced.

        Returns:
            The path written.

        Raises:
            ValueError: If the path has another suffix, already exists or cannot
                be written to.
        """
        path = pathlib.Path(path)
        check_audit_path(path, overwrite)
        return write_file(path, lambda: self.to_json().encode(), overwrite)

    def rows(self) -> list[tuple[str, ...]]:
        """Returns the table of layers as text, starting with the header."""
        header = (
            "layer",
            "type",
            "guarantee",
            "bound",
            "estimate",
            "gap",
            "share",
            "method",
        )
        table: list[tuple[str, ...]] = [header]
        table += [
            (
                layer.name,
                layer.kind,
                layer.guarantee,
                f"{layer.bound:.8g}",
                "-" if layer.estimate is None else f"{layer.estimate:.6g}",
                "-" if layer.gap is None else f"{layer.gap:.1e}",
                f"{layer.share:.1%}",
                layer.method,
            )
            for layer in self.layers
        ]
        return table

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(
                cell.ljust(width)
                for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        table.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(
            [
                f"Audit of model {self.model_name!r} in the {self.norm} norm",
                f"SHA-256: {self.sha256}",
                *table,
                f"Lipschitz bound of the network ({self.basis}): "
                f"{self.lipschitz_bound:.8g}",
            ]
        )


def check_audit_path(path: pathlib.Path, overwrite: bool) -> None:
    """Raises an error if no audit can be written to a path.

    Args:
        path: Path of the file.
        overwrite: Boolean. Whether an existing file may be replaced.

    Raises:
        ValueError: If the path has another suffix, already exists or cannot be
            written to.
    """
    if path.suffix != ".json":
        raise ValueError(
            f"The path of an audit must end in .json. Received: {str(path)!r}"
        )
    check_writable(path, overwrite)


def finite_or_text(value: object) -> object:
    """Returns a finite number as it is, and other numbers as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
