"""Exports a model that includes its certificate."""

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
    """Exports a classifier that returns certified radii with its outputs.

    The exported model takes a batch `inputs` of any size and returns a dict of
    `logits`, `label` and `radius`: every input closer than `radius` has the
    same label. It needs its runtime, but neither Keras nor this library:

    | `format` | written by | run by |
    |---|---|---|
    | `"tf_saved_model"` | TensorFlow | TensorFlow |
    | `"onnx"` | TensorFlow, PyTorch | ONNX Runtime and others |
    | `"litert"` | TensorFlow | LiteRT (TFLite) |
    | `"openvino"` | TensorFlow | OpenVINO |
    | `"torch"` | PyTorch | PyTorch, `torch.export.load` |

    Every format can be written from every backend. The backend that writes the
    format must be installed. It runs in a separate process.

    **What is proven.** The real-valued function that the weights define gives
    every input within the radius, in the norm of the model, the same label.
    `keras_lip.certificates.certify` makes the same promise, and the exported
    radius is never larger than the radius that it finds. The radius uses the
    constants of the audit, rounded up to float32: the constants of pairs of
    classes, of a single output, or of jointly Lipschitz logits. A model that
    ends in a `CurvatureHead` is certified with the closed form alone. The
    radius is zero for ties, and if inputs or outputs are not finite.

    **What is assumed.** The logits `z` of the runtime differ from the exact
    logits by at most `logit_tolerance * (L |x| + max |z|)`, where `L` is the
    Lipschitz bound and `|x|` the l2 norm of the input. Twice this tolerance is
    subtracted from the margin, and the radius is multiplied by `1 - 2^-20` to
    cover its own rounding errors. Before the artifact is written to `path`, the
    assumption is checked: the artifact runs on the CPU, on random inputs and on
    `probes`. The default tolerance is far larger than float32 needs. TensorFlow
    and ONNX Runtime round products to TF32 on GPUs by default: use `2**-9`, or
    disable TF32. OpenVINO uses 16-bit numbers where the processor supports
    them: disable them.

    The certificate is a JSON file. It contains the hash, bounds and layers of
    the audit, the norm, tolerance, assumptions and versions, the accuracies of
    a report, and the digests of the artifact's files. For a SavedModel it is
    `assets.extra/certificate.json` in its folder. For any other format it is a
    file beside the artifact, with `.json` added to its name.

    Args:
        model: A built classifier that `certify` accepts and that computes in
            float32. It is not modified.
        path: Path of the artifact, in an existing folder: a new folder for a
            SavedModel, otherwise a file that ends in `.onnx`, `.tflite`, `.xml`
            or `.pt2`.
        format: Name of the format. Defaults to `"tf_saved_model"`.
        report: The report that `keras_lip.certificates.certify` or `audit`
            returned for this model. Its bounds and norm are reused; the bounds
            of a report that was read from a file are proven again. The
            accuracies of a `certify` report are written to the certificate as
            they are. Defaults to `None`, which proves the bounds now.
        logit_tolerance: Non-negative float. The assumed relative error of the
            runtime's logits, see above. Defaults to `3.814697265625e-06`.
        probes: Array of inputs, such as a few test images, to check the
            artifact on in addition to random inputs. Defaults to `None`.
        overwrite: Boolean. Whether to replace an exported model at the path.
            The old one is kept if the export fails. Defaults to `False`.

    Returns:
        The path.

    Raises:
        TypeError: If `model` is not a `keras.Model`, or `report` is not a
            report.
        ValueError: If the format is unknown, the path has the wrong suffix or
            already exists, the model cannot be certified, the report belongs to
            another model, or the artifact's logits differ by more than the
            tolerance.
        ImportError: If a package that writes or runs the format is missing.
        RuntimeError: If the artifact cannot be written, or does not match its
            certificate.

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
