"""The report of a certification."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_lip.certificates.probabilities import choose_classes
from keras_lip.certificates.probabilities import distance_bound
from keras_lip.certificates.probabilities import log_odds_bound
from keras_lip.certificates.probabilities import probability_radii
from keras_lip.certificates.reports.abstention_curve import AbstentionCurve
from keras_lip.certificates.reports.abstention_curve import trace_abstention
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.merge_reports import merge_reports
from keras_lip.certificates.reports.page import draw_curves
from keras_lip.certificates.reports.page import plot_curves
from keras_lip.certificates.reports.page import render_page
from keras_lip.certificates.reports.report_files import check_report_path
from keras_lip.certificates.reports.report_files import describe_report
from keras_lip.certificates.reports.report_files import list_numbers
from keras_lip.certificates.reports.report_files import read_report
from keras_lip.certificates.reports.report_files import write_arrays
from keras_lip.explanations.saliency import Saliency
from keras_lip.figures import take_axes
from keras_lip.files import write_file
from keras_lip.files import write_path
from keras_lip.proofs.rounding import divide_down
from keras_lip.types import Array
from keras_lip.validation import check_number


@dataclasses.dataclass
class CertificationReport:
    """The certificates of a model on a data set.

    `keras_lip.certificates.certify` returns it.

    Args:
        model_name: Name of the model.
        lipschitz_bound: Float. Proven bound of the whole model, as the
            real-valued function of its weights.
        method: String. Method that converts margins to radii.
        epsilons: Tuple of floats. Radii at which the report lists accuracies.
        radius: Float64 array of shape `(num_samples,)`. Every input closer to
            sample `i` than `radius[i]` gets the same answer. Zero where the
            model abstains.
        prediction: Integer array of shape `(num_samples,)`. The classes of the
            largest logits in float64. Only where the radius is positive they
            are proven to be the answers under the `semantics`.
        label: Integer array of shape `(num_samples,)`.
        attacks: Dict of measured accuracies to show with the certified ones:
            `{title: {epsilon: accuracy}}`. Defaults to none.
        norm: `"l2"` or `"linf"`. Norm of all radii. Defaults to `"l2"`.
        semantics: `"real"`, or the precision of the executions that the radii
            hold for. Defaults to `"real"`.
        abstain_below: Float. The classifier abstains if its margin is smaller.
            Defaults to `0.0`.
        worst_margin: Float64 array of shape `(num_samples, 1 + num_epsilons)`,
            or `None` if only radii are known. Lower bounds on the margin at
            each sample, and within each of the `epsilons`. Zero where they are
            not positive. Defaults to `None`.
        largest_pair_bound: Float. The largest Lipschitz constant of a margin.
            Defaults to infinity.
        audit: The `AuditReport` with the bounds behind the radii, or `None`,
            the default.
        saliency: The result of `keras_lip.explanations.saliency_maps`, which is
            shown on the HTML page, or `None`, the default.
        logits: Float64 array of shape `(num_samples, classes)`, or `None` if
            only radii are known, the default.
        margin_error: Float64 array of shape `(num_samples,)`, or `None`, the
            default. Bounds on the errors of differences of two logits.
        shard: Tuple `(index, count)` if the report is of a part of the data,
            or `None` for all data, the default. See `certify`.
        batch_sizes: Tuple of integers, or `None`, the default. Number of
            samples of each batch. `merge` needs it.
        batch_size: Integer, or `None` if it is unknown, the default. Number of
            samples of all batches of the data but the last one, which may be
            smaller. `merge` needs it.
        num_total: Integer, or `None` if it is unknown, the default. Number of
            samples of the array of which the report is a shard.
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
    norm: str = "l2"
    semantics: str = "real"
    abstain_below: float = 0.0
    worst_margin: Array | None = None
    largest_pair_bound: float = np.inf
    audit: AuditReport | None = None
    saliency: Saliency | None = None
    logits: Array | None = None
    margin_error: Array | None = None
    shard: tuple[int, int] | None = None
    batch_sizes: tuple[int, ...] | None = None
    batch_size: int | None = None
    num_total: int | None = None

    @property
    def basis(self) -> str:
        """What bounds and radii rely on.

        It is `"proven"`, or a text that names the layers whose bounds a user
        has claimed. If they are not true, no radius holds.
        """
        return "proven" if self.audit is None else self.audit.basis

    @property
    def answered(self) -> Array:
        """Boolean array of shape `(num_samples,)`, `True` if answered."""
        if self.abstain_below == 0:
            return np.ones(len(self.radius), dtype=bool)
        if self.worst_margin is None:
            raise ValueError(
                "A report with `abstain_below` needs `worst_margin`, which "
                "says what is answered. Received: abstain_below="
                f"{self.abstain_below}, worst_margin=None"
            )
        return self.worst_margin[:, 0] >= self.abstain_below

    @property
    def coverage(self) -> float:
        """Fraction of samples that are answered."""
        return float(np.mean(self.answered))

    @property
    def accuracy(self) -> float:
        """Fraction of all samples that are answered correctly."""
        return float(np.mean(self.answered & self._correct))

    @property
    def global_radius(self) -> float:
        """Lower bound on the distance of inputs with different answers.

        If two inputs are answered with different classes, the margins between
        these classes are at least `abstain_below` at one input and at most
        `-abstain_below` at the other. This holds for all inputs, not only for
        the samples. The bound is zero without abstention, and infinite if the
        margins are proven to be constant.

        Raises:
            ValueError: If the classifier abstains, and the semantics of the
                report are an execution, whose rounding errors have no bound for
                all inputs.
        """
        if self.abstain_below == 0:
            return 0.0
        self._check_real("global_radius")
        if self.largest_pair_bound == 0:
            return np.inf
        # It is `-inf` if the quotient overflows.
        found = divide_down(2 * self.abstain_below, self.largest_pair_bound)
        return max(found, 0.0)

    @property
    def _correct(self) -> Array:
        return self.prediction == self.label

    def certified_accuracy(self, epsilon: float) -> float:
        """Returns the fraction of samples proven correct within a radius.

        Args:
            epsilon: Non-negative float. Norm of the perturbations.

        Returns:
            Float. The fraction of samples whose label is predicted for *every*
            input at a distance of at most `epsilon`.

        Raises:
            ValueError: If `epsilon` is negative or not finite.
        """
        epsilon = check_number("epsilon", epsilon, 0.0)
        proven = self.answered & (self.radius > epsilon)
        return float(np.mean(self._correct & proven))

    def curve(self, num_points: int = 101) -> tuple[Array, Array]:
        """Returns the certified accuracy against the radius.

        Args:
            num_points: Integer. Number of radii, evenly spaced from zero to the
                largest one of a correct sample.

        Returns:
            Tuple of the radii and the certified accuracies at them.
        """
        correct = self.radius[self._correct]
        largest = max([*self.epsilons, float(np.max(correct, initial=0.0))])
        radii = np.linspace(0.0, largest, num_points)
        accuracies = [self.certified_accuracy(radius) for radius in radii]
        return radii, np.array(accuracies)

    def abstention_curve(
        self, epsilon: float = 0.0, num_points: int = 101
    ) -> AbstentionCurve:
        """Returns coverage and accuracies against the threshold of abstention.

        Args:
            epsilon: Float. Zero, or one of the report's `epsilons`.
            num_points: Integer. Number of thresholds, from zero to the largest
                margin of a sample.

        Returns:
            An `AbstentionCurve`.

        Raises:
            ValueError: If the report contains no margins within `epsilon`.

        Reference:

        - [Béthune et al., 2022](https://arxiv.org/abs/2104.05097), section 5
        """
        known = (0.0, *self.epsilons)
        if self.worst_margin is None or epsilon not in known:
            raise ValueError(
                "The report only contains margins within its own `epsilons`. "
                "To get others, pass `epsilons` to `certify`. Received: "
                f"epsilon={epsilon!r}, known: {known}"
            )
        margins = self.worst_margin
        return trace_abstention(
            self._correct,
            margins[:, 0],
            margins[:, known.index(epsilon)],
            num_points,
        )

    def probability_radius(
        self,
        threshold: float = 0.5,
        temperature: float = 1.0,
        classes: Any = None,
    ) -> Array:
        """Returns radii within which a set of classes stays probable.

        The probabilities are `softmax(temperature * logits)`, or for a single
        output `sigmoid(temperature * f)`. Let `P` be the total probability of a
        set of classes, such as the predicted class alone. If no margin of a
        class in the set over another class falls by more than `m`, its log-odds
        `log(P / (1 - P))` fall by at most `temperature * m`. So at the distance
        `epsilon` they fall by at most `temperature * largest_pair_bound *
        epsilon`. This radius is never smaller than the one that follows from
        `fisher_rao_bound` for the same set and threshold.

        Args:
            threshold: Float between 0 and 1, both excluded. From one half on,
                a single class also remains the predicted one. Defaults to
                `0.5`.
            temperature: Positive float. Factor of the logits. Defaults to
                `1.0`.
            classes: An integer or a sequence of integers, the set of classes
                for all samples; or a boolean array of shape `(num_samples,
                classes)`, a set for each sample. A single output has the
                classes 0 and 1. Defaults to `None`, for the predicted class of
                each sample.

        Returns:
            Float64 array of shape `(num_samples,)`. For every input closer to
            sample `i` than its entry `i`, the probability of the set is more
            than `threshold`. Zero if it is not more at the sample itself.

        Raises:
            ValueError: If an argument is out of range, a set is empty or
                contains all classes, the report contains no logits, or its
                semantics are an execution, in which the softmax would round.

        Reference:

        - [Tsuzuku et al., 2018](https://arxiv.org/abs/1802.04034), Proposition
          1, for the change of a margin
        """
        threshold = check_number("threshold", threshold, 0.0, 1.0, True)
        if threshold == 1.0:
            raise ValueError(
                "`threshold` must be less than 1, which no probability "
                "exceeds. Received: threshold=1.0"
            )
        temperature = check_number(
            "temperature", temperature, 0.0, open_low=True
        )
        if self.logits is None or self.margin_error is None:
            raise ValueError(
                "The report contains no logits. Use a report that "
                "`keras_lip.certificates.certify` returned. Received: "
                "logits=None"
            )
        self._check_real("probability_radius")
        chosen = None
        if classes is not None:
            chosen = choose_classes(classes, self.logits.shape)
        odds = log_odds_bound(
            self.logits, self.margin_error, temperature, chosen
        )
        return probability_radii(
            odds, threshold, temperature, self.largest_pair_bound
        )

    def fisher_rao_bound(
        self, epsilon: float, temperature: float = 1.0
    ) -> float:
        """Bounds how far probabilities move if an input moves by `epsilon`.

        The Fisher information of `softmax(z)` is `diag(p) - p p^T`, so a change
        `dz` of the logits has the squared length `Var_p(dz)`, at most a quarter
        of the square of the largest change of a margin. With the Lipschitz
        bound `L` of the model in l2, the margins change by at most `sqrt(2) L`
        times the distance of two inputs, so the distance of their probabilities
        is at most `temperature * L * epsilon / sqrt(2)`. The proven constant of
        the margins may be smaller.

        Args:
            epsilon: Non-negative float. Distance of two inputs, in `norm`.
            temperature: Positive float. Factor of the logits. Defaults to
                `1.0`.

        Returns:
            Float. Upper bound on `keras_lip.certificates.fisher_rao_distance`
            of `softmax(temperature * logits)`, or of the sigmoid of a single
            output, for any two inputs at a distance of at most `epsilon`, in
            the data or not. It is at most about pi.

        Raises:
            ValueError: If an argument is out of range, or the semantics of the
                report are an execution.

        Reference:

        - [Amari, 2016](https://doi.org/10.1007/978-4-431-55978-8), for
          the Fisher information of an exponential family
        """
        epsilon = check_number("epsilon", epsilon, 0.0)
        temperature = check_number(
            "temperature", temperature, 0.0, open_low=True
        )
        self._check_real("fisher_rao_bound")
        return distance_bound(self.largest_pair_bound, temperature, epsilon)

    def _check_real(self, what: str) -> None:
        if self.semantics != "real":
            raise ValueError(
                f"`{what}` is known for the real-valued function. Certify with "
                f"`semantics='real'`. Received: semantics={self.semantics!r}"
            )

    def to_json(self) -> str:
        """Returns the report, without its logits, as JSON text."""
        content = describe_report(self)
        audit = content.pop("audit")
        return json.dumps(
            {
                **content,
                "radius": list_numbers(self.radius),
                "prediction": self.prediction.tolist(),
                "label": self.label.tolist(),
                "worst_margin": list_numbers(self.worst_margin),
                "audit": audit,
            },
            indent=2,
            allow_nan=False,
        )

    def plot(self, axes: Any = None) -> Any:
        """Draws certified and attacked accuracies against the radius.

        Args:
            axes: The `matplotlib.axes.Axes` to draw on. Defaults to `None`, for
                the axes of a new figure of `matplotlib.pyplot`.

        Returns:
            The axes. `axes.figure.savefig("curve.png")` writes the figure.

        Raises:
            ImportError: If the extra `report` is not installed.
            TypeError: If `axes` is something else.
        """
        axes = take_axes(axes)
        plot_curves({self.model_name: self}, axes)
        return axes

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "CertificationReport":
        """Reads a report that `save` wrote, of this or an older version.

        A `.npz` file contains everything except `saliency`. A `.json` file
        does not contain `logits` and `margin_error` either. Nothing is proven
        by the numbers of a file: the audit of a loaded report contains no
        `pair_bounds`, and `certify(..., audit=report.audit)` proves all of its
        bounds again.

        Args:
            path: Path that ends in `.npz` or `.json`.

        Returns:
            A `CertificationReport`.

        Raises:
            ValueError: If the path has another suffix, or the file is not a
                complete report of a known format, or contradicts itself: its
                arrays do not fit each other, or other accuracies follow from
                them than it states.
        """
        report: CertificationReport = read_report(path, cls)
        return report

    @classmethod
    def merge(
        cls, reports: "Iterable[CertificationReport]"
    ) -> "CertificationReport":
        """Merges the reports of all shards of a data set to the whole report.

        The samples are in the order of the data set. The result is the report
        of `certify` without `shard`, bit for bit, if all shards are certified
        in the same environment. Otherwise proofs may round differently: every
        radius keeps the proof of its shard, and the largest of the bounds is
        reported. Nothing is known of the data themselves: shards of different
        data sets of the same size are not noticed, and neither are shards of
        data that are shuffled again whenever they are read.

        Nothing is proven again. Accuracies of attacks are averaged over all
        samples. Saliency maps are left out.

        Args:
            reports: Iterable of reports, one for each shard, in any order. They
                must be of the same model, which the SHA-256 of their audits
                tells, and have the same `norm`, `epsilons`, `semantics` and
                `abstain_below`.

        Returns:
            A `CertificationReport`.

        Raises:
            ValueError: If a shard is missing, present twice or not of the
                expected size; if batches other than the last one differ in
                size, or the size of a shard's batches is unknown; if reports
                are of different models, norms or settings; if a report contains
                no audit.
            TypeError: If one of them is not a report.

        Example:

        >>> model = keras.Sequential(
        ...     [keras.Input((2,)), keras_lip.layers.UnitNormDense(3)]
        ... )
        >>> shards = [
        ...     keras_lip.certificates.certify(
        ...         model, np.eye(2), [0, 1], batch_size=1, shard=(index, 2)
        ...     )
        ...     for index in range(2)
        ... ]
        >>> report = keras_lip.certificates.CertificationReport.merge(shards)
        >>> report.radius.shape
        (2,)
        """
        reports = list(reports)
        for report in reports:
            if not isinstance(report, CertificationReport):
                raise TypeError(
                    "`reports` must be reports of "
                    "`keras_lip.certificates.certify`. Received: "
                    f"{report!r} of type `{type(report).__name__}`"
                )
        return cls(**merge_reports(reports))

    def save(
        self, path: str | pathlib.Path, overwrite: bool = False
    ) -> pathlib.Path:
        """Writes the report to a file, completely or not at all.

        Args:
            path: Path that ends in `.npz`, for all arrays with all their bits;
                in `.json`, for everything except logits; in `.html` for a page
                with the table, the curves and the saliency maps; or in `.png`
                for the curves alone. `load` reads the first two.
            overwrite: Boolean. Whether an existing file may be replaced.

        Returns:
            The path written.

        Raises:
            ValueError: If the path has another suffix, already exists or cannot
                be written to.
            ImportError: If the path ends in `.html` or `.png` and the extra
                `report` is not installed.
        """
        makers = {
            ".json": lambda: self.to_json().encode(),
            ".html": lambda: render_page(self, self._certified()).encode(),
            ".png": lambda: draw_curves(self),
        }
        path = pathlib.Path(path)
        check_report_path(path, overwrite)
        if path.suffix == ".npz":
            return write_path(
                path, lambda partial: write_arrays(self, partial), overwrite
            )
        return write_file(path, makers[path.suffix], overwrite)

    def __str__(self) -> str:
        is_real = self.semantics == "real"
        of = "" if is_real else " of the real-valued function"
        lines = [
            f"Model {self.model_name!r}, {len(self.radius)} samples",
            f"Lipschitz bound{of} ({self.norm}, {self.basis}): "
            f"{self.lipschitz_bound:.8g}",
            f"Method: {self.method}",
            f"Accuracy: {self.accuracy:.2%}",
        ]
        if not is_real:
            lines.insert(3, f"Semantics: execution in {self.semantics}")
        if self.shard is not None:
            lines.insert(1, f"Shard: {self.shard}, as (index, count)")
        if self.abstain_below > 0:
            lines += [
                f"Coverage: {self.coverage:.2%}, abstaining below a margin of "
                f"{self.abstain_below:.4g}",
            ]
        if self.abstain_below > 0 and is_real:
            lines.append(
                f"Distance between different answers: {self.global_radius:.4g}"
            )
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
