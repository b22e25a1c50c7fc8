"""An exported model, as a service runs it: checked, and without Keras."""

import hashlib
import json
import pathlib

import numpy as np
import onnxruntime


class ServedModel:
    """A model in ONNX with its certificate.

    Neither Keras nor keras_lip is needed to run it.

    Args:
        path: Path of the file that `keras_lip.models.export` wrote; its
            certificate stands beside it.
        threads: Positive integer. Threads that a batch is run on.
    """

    def __init__(self, path, threads=1):
        self.certificate = read_certificate(pathlib.Path(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.input_shape = tuple(self.certificate["input"]["shape"][1:])

    def read_inputs(self, values, most):
        """Checks inputs that somebody sent.

        Args:
            values: Nested list of numbers, of shape `(count, *input_shape)`.
            most: Positive integer. How many inputs there may be.

        Returns:
            Float32 array.

        Raises:
            ValueError: If they are anything else. The message is for whoever
                sent them.
        """
        expected = f"of shape {['n', *self.input_shape]}, n from 1 to {most}"
        try:
            array = np.asarray(values)
        except (ValueError, OverflowError):
            array = None
        if array is None or array.dtype.kind not in "iuf":
            raise ValueError(
                f"`inputs` must be an array of numbers {expected}. Received: "
                "rows of different lengths, or what is no number"
            )
        if array.shape[1:] != self.input_shape or not 1 <= len(array) <= most:
            raise ValueError(
                f"`inputs` must be an array of numbers {expected}. Received: "
                f"shape {list(array.shape)}"
            )
        with np.errstate(over="ignore"):
            array = array.astype("float32")
        if not np.isfinite(array).all():
            raise ValueError(
                "`inputs` must be finite numbers of single precision. "
                "Received: NaN or infinity"
            )
        return array

    def run(self, inputs):
        """Returns a dict of `label`, `radius` and `logits` of a batch."""
        names = [output.name for output in self._session.get_outputs()]
        arrays = self._session.run(names, {"inputs": inputs})
        return dict(zip(names, arrays, strict=True))


def read_certificate(path):
    """Returns the certificate of an artifact, if it is of these very bytes."""
    sidecar = path.with_name(path.name + ".json")
    try:
        artifact, text = path.read_bytes(), sidecar.read_text()
    except OSError as error:
        raise SystemExit(
            f"{path} and {sidecar} must be what `keras_lip.models.export` "
            f"wrote: {error}"
        ) from error
    try:
        certificate = json.loads(text)
        digest = certificate["files"][path.name]
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{sidecar} is no certificate of {path}.") from error
    if certificate["format"] != "onnx":
        raise SystemExit(
            f"This service runs ONNX. Received: {certificate['format']!r}"
        )
    if hashlib.sha256(artifact).hexdigest() != digest:
        raise SystemExit(
            f"{path} is not the file that {sidecar} certifies: their digests "
            "differ. Export the model again."
        )
    return certificate
