"""Certifies a model on a data set."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_lip.certificates.certifier import Certifier
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.data import check_shard
from keras_lip.data import count_batches
from keras_lip.data import count_samples
from keras_lip.data import find_batch_size
from keras_lip.progress import Verbose
from keras_lip.progress import check_verbose
from keras_lip.progress import track
from keras_lip.validation import check_numbers
from keras_lip.validation import check_positive_integer


def certify(
    model: keras.Model,
    x: Any,
    y: Any = None,
    epsilons: float | Sequence[float] = (36 / 255, 72 / 255, 108 / 255),
    batch_size: int = 256,
    norm: str | None = None,
    audit: AuditReport | None = None,
    abstain_below: float = 0.0,
    semantics: str = "real",
    shard: tuple[int, int] | None = None,
    verbose: Verbose = "auto",
) -> CertificationReport:
    """Proves for each input a radius within which its class cannot change.

    The model is frozen: its operations and weights at inference are read once,
    and all proofs use these numbers. The bound of every layer is computed in
    float64 and rounded up. The logits are computed in float64 with bounds on
    their rounding errors, and margins are rounded down. The certificate holds
    for the real-valued function that the numbers define, and for perturbations
    of the input that the model receives. The live model also runs on the
    inputs. An error is raised if its outputs differ from the frozen program by
    more than rounding explains.

    Let `L` be the Lipschitz bound of the model. For a single output the radius
    is `|f| / L`. Otherwise it is the minimum of `(f_y - f_j) / (sqrt(2) L)`
    over all other classes `j`. If the last layer is linear and `(f_y - f_j) /
    (L_trunk |w_y - w_j|)` is larger, this value is used for class `j`. In the
    l-infinity norm, `2` replaces `sqrt(2)`, and `|w_y - w_j|` is the l1 norm.
    The radius of a tie is zero.

    For a model that ends in a `CurvatureHead`, the curvature of the margins
    gives further radii, and the largest one is returned.

    A certificate of the real-valued function may not hold for its execution in
    floating point, because an attacker might exploit rounding errors. With
    `semantics="float32"` or `"float64"` the radii hold for every execution of
    the materialized model in that precision, with any order of sums: the
    rounding errors of every layer, at the input and anywhere within the radius,
    are bounded and subtracted from the margin. Such bounds are known for dense
    layers, for convolutions that are computed as sums of products, and for
    layers that move, sort or add values. Other layers raise an error. Keras on
    JAX and PyTorch rounds products of float64 to float32, which `"float64"`
    does not cover. In float32 the bounds reduce the radii of wide and deep
    networks to zero.

    With `abstain_below`, the classifier answers only if its smallest margin is
    at least that value, and abstains otherwise. Within the radius, the
    classifier then gives the same answer and does not abstain. Any two inputs
    with different answers, in the data or not, are further apart than the
    report's `global_radius`.

    Args:
        model: A built classifier with one input and one output of logits, of
            shape `(batch_size, classes)`, or `(batch_size, 1)` for labels 0 and
            1 or -1 and 1.
        x: Array of inputs; or an iterable of batches `(inputs, labels)`, such
            as a `tf.data.Dataset`, a `keras.utils.PyDataset` or a PyTorch
            `DataLoader`, in which case `y` is `None`. All inputs must have the
            same shape if a bound depends on sizes that the model leaves
            unknown.
        y: Array of labels: class indices or one-hot. Defaults to `None`.
        epsilons: Radius, or sequence of radii, at which to report certified
            accuracies. Defaults to `(36 / 255, 72 / 255, 108 / 255)`.
        batch_size: Positive integer. Number of samples evaluated at a time.
            Defaults to `256`.
        norm: `"l2"` or `"linf"`. Norm of the perturbations. Defaults to `None`,
            for the norm in which all layers have a bound, or l2 if they have
            bounds in both.
        audit: The `AuditReport` that `keras_lip.certificates.audit` returned
            for this model. Its bounds are reused, and its hash must match the
            current model. The bounds of an audit that was read from a file are
            proven again. Defaults to `None`, which proves the bounds now.
        abstain_below: Non-negative float. The classifier abstains if its margin
            is smaller. Defaults to `0.0`.
        semantics: `"real"` for the real-valued function of the weights,
            `"float64"` or `"float32"` for executions in that precision.
            Defaults to `"real"`.
        shard: Pair `(index, count)`, to certify only a part of the data: every
            `count`th batch, from batch `index` on. `count` processes with the
            same arguments certify all data, and `CertificationReport.merge`
            merges their reports. A part is read alone if `x` is an array, or
            with the first batch if it is a `PyDataset`; other iterables are
            read to the end. For data that were divided in this way before, such
            as `dataset.batch(256).shard(count, index)` of `tf.data`, set the
            attribute `shard` of the report, and `batch_size` if it is `None`,
            as for a single batch, which may be the last and smaller one. All
            batches but the last must have the same size. All processes must see
            the data in the same order: data that are shuffled again whenever
            they are read, such as `dataset.shuffle(...)` of `tf.data` or a
            `DataLoader(shuffle=True)`, would leave out some samples and count
            others twice, and no report shows it.
            Defaults to `None`, for all data.
        verbose: 1 to draw progress bars of the proofs and of the batches, 0 to
            draw nothing. Defaults to `"auto"`, to draw them in terminals and
            notebooks.

    Returns:
        A `CertificationReport`.

    Raises:
        ValueError: If the model is not built, has several outputs, ends in a
            softmax or sigmoid, computes in less than float32, or contains a
            layer without a known bound; if an input is not finite; if labels
            are missing, out of range or of the wrong shape; if an epsilon is
            negative; if the outputs of the live model differ from the frozen
            program; if `audit` is of another model or of other weights; if
            `semantics` is not supported for a layer; if `shard` is invalid or
            contains no batch.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras_lip.layers.UnitNormDense(3)]
    ... )
    >>> report = keras_lip.certificates.certify(
    ...     model, np.eye(2), [0, 1], epsilons=[0.1]
    ... )
    >>> report.radius.shape
    (2,)

    Reference:

    - [Tsuzuku et al., 2018](https://arxiv.org/abs/1802.04034), Proposition 1
    - [Singla et al., 2022](https://arxiv.org/abs/2108.04062), Proposition 3
    - [Béthune et al., 2022](https://arxiv.org/abs/2104.05097), for abstention
    """
    radii = check_numbers("epsilons", epsilons, 0.0)
    shard = check_shard(shard)
    verbose = check_verbose(verbose)
    batch_size = check_positive_integer("batch_size", batch_size)
    certifier = Certifier(model, norm, audit, abstain_below, semantics, verbose)
    num_total = None if shard is None else count_samples(x)
    number = count_batches(x, batch_size, shard)
    # Only arrays have their labels apart.
    size: int | None = batch_size
    if y is None:
        x, size = find_batch_size(x, batch_size, shard)
    batches = list(
        track(
            certifier.run(x, y, batch_size, radii, shard),
            verbose,
            "batch",
            number,
        )
    )
    if any(batch.label is None for batch in batches):
        raise ValueError(
            "Labels are needed to certify an accuracy: pass `y`, or an `x` "
            "that yields `(inputs, labels)`. If you only need radii, use "
            "`keras_lip.certificates.certified_radius`."
        )
    sizes = tuple(len(batch.radius) for batch in batches)
    return CertificationReport(
        model_name=model.name,
        lipschitz_bound=certifier.bounds.lipschitz_bound,
        method=certifier.bounds.method,
        epsilons=radii,
        radius=np.concatenate([batch.radius for batch in batches]),
        prediction=np.concatenate([batch.prediction for batch in batches]),
        label=np.concatenate([batch.label for batch in batches]),
        norm=certifier.bounds.norm,
        semantics=certifier.semantics,
        abstain_below=certifier.abstain_below,
        worst_margin=np.concatenate([batch.worst_margin for batch in batches]),
        largest_pair_bound=float(np.max(certifier.bounds.matrix)),
        audit=certifier.audit,
        logits=np.concatenate([batch.logits for batch in batches]),
        margin_error=np.concatenate([batch.margin_error for batch in batches]),
        shard=shard,
        batch_sizes=sizes,
        # A single batch may be the last one of data that were divided before.
        batch_size=size or (sizes[0] if len(sizes) > 1 else None),
        num_total=num_total,
    )
