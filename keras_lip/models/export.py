"""Export of a model with its certificate inside."""

import pathlib
import tempfile
from typing import Any

import keras

from keras_lip.models.exporting.certificate import make_certificate
from keras_lip.models.exporting.certificate import write_certificate
from keras_lip.models.exporting.certificate_source import Report
from keras_lip.models.exporting.certificate_source import find_bounds
from keras_lip.models.exporting.certified_model import certified_model
from keras_lip.models.exporting.formats import find_backend
from keras_lip.models.exporting.probe_artifact import make_probes
from keras_lip.models.exporting.target import certificate_path
from keras_lip.models.exporting.target import check_target
from keras_lip.models.exporting.target import install
from keras_lip.models.exporting.write_artifact import write_artifact
from keras_lip.program import freeze
from keras_lip.validation import check_number


def export(
    model: keras.Model,
    path: str | pathlib.Path,
    format: str = "tf_saved_model",
    report: Report | None = None,
    logit_tolerance: float = 2.0**-18,
    probes: Any = None,
    overwrite: bool = False,
) -> pathlib.Path:
    """Exports a classifier that certifies its own answers.

    The exported model takes a batch `inputs` of any size and returns a dict of
    `logits`, `label` and `radius`: no input closer than the radius has another
    label. It needs its runtime, and neither Keras nor this library:

    | `format` | written by | run by |
    |---|---|---|
    | `"tf_saved_model"` | TensorFlow | TensorFlow |
    | `"onnx"` | TensorFlow, PyTorch | ONNX Runtime and others |
    | `"litert"` | TensorFlow | LiteRT (TFLite) |
    | `"openvino"` | TensorFlow | OpenVINO |
    | `"torch"` | PyTorch | PyTorch, `torch.export.load` |

    Any of them can be had from any backend. The model is handed over to the
    backend that writes the format, which must be installed, in a process of its
    own.

    **What is proven.** Every input within the radius, in the norm of the model,
    has the label, by the real-valued function that the weights define. This is
    what `keras_lip.certificates.certify` promises, and the radius is never
    larger than the one that is found there. It rests on the constants of the
    audit, rounded up to float32: of pairs of classes, of a single output, or of
    jointly Lipschitz logits. A model that ends in a `CurvatureHead` is
    certified by the closed form alone. Ties, and what is not finite, have
    radius zero.

    **What is assumed** of the runtime: that its logits `z` are within
    `logit_tolerance * (L |x| + max |z|)` of what they should be, with `L` the
    Lipschitz bound, and the l2 norm of `x`. Twice that is taken off the margin,
    and the radius is shrunk by `1 - 2^-20` for its own roundings. The
    assumption is checked before anything is put in place, by running the
    artifact on the processor, on random inputs and on `probes`. The default is
    far above what float32 needs. For runtimes that round products to TF32, as
    TensorFlow and ONNX Runtime do on GPUs by themselves, take `2**-9` or switch
    that off; numbers of 16 bits, which OpenVINO takes where the processor has
    them, must be switched off.

    The certificate is JSON: the hash, bounds and layers of the audit, norm,
    tolerance, assumptions, versions, the accuracies of a report, and the
    digests of the artifact's files. In the folder of a SavedModel it is
    `assets.extra/certificate.json`; beside any other artifact it has the same
    name with `.json` added.

    Args:
        model: A built classifier as for `certify`, which computes in float32.
            It is left as it is.
        path: Where to write the artifact, in an existing folder: a new folder
            for a SavedModel, else a file that ends in `.onnx`, `.tflite`,
            `.xml` or `.pt2`.
        format: Name of the format. Defaults to `"tf_saved_model"`.
        report: What `keras_lip.certificates.certify` or `audit` returned for
            this model, to use its bounds and its norm again and, of the former,
            to state its accuracies. Defaults to bounds that are proven now.
        logit_tolerance: Float, at least zero. See above. Defaults to
            `3.814697265625e-06`.
        probes: Array of inputs to check the artifact on, such as a few of the
            test set, besides random ones. Defaults to `None`.
        overwrite: Boolean. Whether an exported model at the path may be
            replaced. It stays whole if the export fails. Defaults to `False`.

    Returns:
        The path.

    Raises:
        TypeError: If `model` is not a `keras.Model`, or `report` is no report.
        ValueError: If the format is not known, the path does not fit or exists,
            the model has no certificate, the report is of another model, or the
            artifact's logits are off by more than the tolerance.
        ImportError: If a package is missing that writes or runs the format.
        RuntimeError: If it cannot be written, or the artifact is not what its
            certificate says.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras_lip.layers.UnitNormDense(3)]
    ... )
    >>> keras_lip.models.export(model, "served")  # doctest: +SKIP

    Reference:

    - [Tsuzuku et al., 2018](https://arxiv.org/abs/1802.04034), Proposition 1
    """
    backend = find_backend(format)
    path = pathlib.Path(path)
    check_target(path, format, overwrite)
    logit_tolerance = check_number("logit_tolerance", logit_tolerance, 0.0, 1.0)
    program = freeze(model)
    audit, bounds = find_bounds(model, program, report)
    exported, radius = certified_model(
        program, model.name, bounds, logit_tolerance
    )
    shape = tuple(exported.inputs[0].shape[1:])
    tried = make_probes(model, program, bounds, probes)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}-"
    ) as folder:
        staged = pathlib.Path(folder) / "artifact" / path.name
        staged.parent.mkdir()
        outputs = write_artifact(exported, staged, format, backend, tried.x)
        certificate = make_certificate(
            audit,
            bounds,
            report,
            format=format,
            written_by=backend,
            input={
                "name": "inputs",
                "shape": [None, *shape],
                "dtype": "float32",
            },
            logit_tolerance=logit_tolerance,
            tolerance_used=tried.check(outputs, radius),
        )
        write_certificate(certificate, certificate_path(staged, format), staged)
        install(staged, path, format)
    return path
