"""Merges the reports of all shards of a data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.report_files import ARRAYS
from keras_lip.types import Array

_WHOLE = (0, 1)


def merge_reports(reports: Sequence[Any]) -> dict[str, Any]:
    """Puts the samples of all shards in the order of the data set.

    Args:
        reports: Sequence of `CertificationReport`, one for each shard, in any
            order.

    Returns:
        Dict of the arguments of the `CertificationReport` of the whole data.

    Raises:
        ValueError: If a shard is missing, present twice or not of the expected
            size, if the sizes of batches differ, or if reports are of different
            models, norms or settings.
    """
    parts = _sort_shards(reports)
    audits = [_get_audit(report) for report in parts]
    _check_same("model", [audit.sha256 for audit in audits])
    _check_same("input shape", [audit.input_shape for audit in audits])
    for name in ("norm", "epsilons", "semantics", "abstain_below", "method"):
        _check_same(f"`{name}`", [getattr(report, name) for report in parts])
    _check_same("number of samples", [report.num_total for report in parts])
    order = _order_batches(parts)
    if len(parts) > 1:
        _check_sizes(parts, [part.stop - part.start for _, part in order])
    first = parts[0]
    found = sum(len(report.radius) for report in parts)
    if first.num_total not in (None, found):
        raise ValueError(
            "The samples of all shards must be all samples of the data. "
            "Certify all shards with the same `batch_size`. Received: shards "
            f"of {found} samples in all, of data of {first.num_total}"
        )
    # All shards bound the same numbers. Proofs on different machines may round
    # differently, and the largest result holds for all radii.
    loosest = int(np.argmax([report.lipschitz_bound for report in parts]))
    return {
        "model_name": first.model_name,
        "lipschitz_bound": parts[loosest].lipschitz_bound,
        "method": first.method,
        "epsilons": first.epsilons,
        "attacks": _merge_attacks(parts),
        "norm": first.norm,
        "semantics": first.semantics,
        "abstain_below": first.abstain_below,
        "largest_pair_bound": max(part.largest_pair_bound for part in parts),
        "audit": audits[loosest],
        "batch_size": first.batch_size,
        "batch_sizes": tuple(part.stop - part.start for _, part in order),
        **{
            name: _join(
                [getattr(report, name) for report in parts], name, order
            )
            for name in ARRAYS
        },
    }


def _sort_shards(reports: Sequence[Any]) -> list[Any]:
    """Returns the reports by shard, and checks that all shards are there."""
    if not reports:
        raise ValueError(
            "There must be at least one report to merge. Received: none"
        )
    shards = [report.shard or _WHOLE for report in reports]
    advice = ""
    if len(reports) > 1 and any(report.shard is None for report in reports):
        advice = (
            " A report without `shard` counts as the whole data set: certify "
            "with `shard=(index, count)`."
        )
    counts = sorted({count for _, count in shards})
    if len(counts) > 1:
        raise ValueError(
            f"All reports must be shards of the same partition.{advice} "
            "Received: shards of partitions into "
            f"{' and '.join(map(str, counts))} parts"
        )
    (count,) = counts
    indices = [index for index, _ in shards]
    repeated = sorted({i for i in indices if indices.count(i) > 1})
    missing = sorted(set(range(count)) - set(indices))
    if repeated or missing:
        raise ValueError(
            f"There must be one report for each of the {count} shards.{advice} "
            f"Received: missing shards {missing}, repeated shards {repeated}"
        )
    return [
        report
        for _, report in sorted(
            zip(indices, reports, strict=True), key=lambda pair: pair[0]
        )
    ]


def _get_audit(report: Any) -> AuditReport:
    audit = report.audit
    if not isinstance(audit, AuditReport):
        raise ValueError(
            "A report contains no audit, so it does not say which model it is "
            "of. Merge reports of `keras_lip.certificates.certify`. Received: "
            f"audit={audit!r} of shard {report.shard}"
        )
    return audit


def _check_same(what: str, values: list[Any]) -> None:
    for index, value in enumerate(values):
        if value != values[0]:
            raise ValueError(
                f"All shards must have the same {what}: certify them with the "
                f"same model and arguments. Received: {values[0]!r} of shard "
                f"0, {value!r} of shard {index}"
            )


def _order_batches(parts: list[Any]) -> list[tuple[int, slice]]:
    """Returns the shard and the samples of every batch of the whole data."""
    slices = [
        _slice_batches(report, index) for index, report in enumerate(parts)
    ]
    count, total = len(parts), sum(map(len, slices))
    for index, batches in enumerate(slices):
        expected = len(range(index, total, count))
        if len(batches) != expected:
            raise ValueError(
                f"Shard {index} of {count} must contain {expected} of the "
                f"{total} batches. A shard of other data, or of another batch "
                f"size, does not fit. Received: {len(batches)} batches"
            )
    return [
        (batch % count, slices[batch % count][batch // count])
        for batch in range(total)
    ]


def _check_sizes(parts: list[Any], sizes: list[int]) -> None:
    """Raises an error unless all batches but the last one have one size.

    Otherwise the batch of a shard is not known to start where the batches of
    the other shards say.
    """
    known = [report.batch_size for report in parts]
    if None in known:
        raise ValueError(
            "Every shard must know the size of the batches of the whole data: "
            "certify it again, or set the attribute `batch_size` of its "
            f"report. Received: batch_size=None of shard {known.index(None)}"
        )
    _check_same("`batch_size`", known)
    wrong = [i for i, size in enumerate(sizes[:-1]) if size != known[0]]
    if not wrong and sizes[-1] > known[0]:
        wrong = [len(sizes) - 1]
    if wrong:
        raise ValueError(
            "All batches of the data but the last one must have the same size, "
            "and the last one at most that size, so that shards are known to "
            "fit. Certify the whole data at once, or batches of one size. "
            f"Received: batch {wrong[0]} of {sizes[wrong[0]]} samples, and "
            f"batch_size={known[0]}"
        )


def _slice_batches(report: Any, index: int) -> list[slice]:
    sizes = report.batch_sizes
    if sizes is None or sum(sizes) != len(report.radius):
        raise ValueError(
            "The batch sizes of a report must add up to its number of samples. "
            f"Received: batch_sizes={sizes} for {len(report.radius)} samples "
            f"in shard {index}"
        )
    stops = np.cumsum(sizes)
    return [
        slice(int(stop) - size, int(stop))
        for size, stop in zip(sizes, stops, strict=True)
    ]


def _join(
    arrays: list[Array | None], name: str, order: list[tuple[int, slice]]
) -> Array | None:
    """Copies the rows of the shards to one array."""
    known = [array for array in arrays if array is not None]
    if not known:
        return None
    shapes = {array.shape[1:] for array in known}
    if len(known) < len(arrays) or len(shapes) > 1:
        found = [None if each is None else each.shape for each in arrays]
        raise ValueError(
            f"All shards must contain the same arrays. JSON files contain no "
            f"logits: save shards as .npz. Received: `{name}` of shapes {found}"
        )
    joined = np.empty(
        (sum(map(len, known)), *shapes.pop()), np.result_type(*known)
    )
    start = 0
    for shard, rows in order:
        part = known[shard][rows]
        joined[start : start + len(part)] = part
        start += len(part)
    return joined


def _merge_attacks(parts: list[Any]) -> dict[str, dict[float, float]]:
    """Averages measured accuracies over all samples."""
    _check_same(
        "attacks",
        [
            {title: tuple(found) for title, found in report.attacks.items()}
            for report in parts
        ],
    )
    total = sum(len(report.radius) for report in parts)
    return {
        title: {
            epsilon: sum(
                round(report.attacks[title][epsilon] * len(report.radius))
                for report in parts
            )
            / total
            for epsilon in found
        }
        for title, found in parts[0].attacks.items()
    }
