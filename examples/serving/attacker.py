"""The model that a service attacks, to show how near another class is."""

import numpy as np


class Attacker:
    """The Keras model that an artifact was exported from.

    Args:
        path: Path of its `.keras` file.
        served: `ServedModel` of the artifact.
    """

    def __init__(self, path, served):
        # Only attacks need them, and seconds to load.
        import keras

        import keras_lip as kl

        try:
            self._model = keras.models.load_model(path, compile=False)
        except (ValueError, OSError, TypeError, KeyError) as error:
            raise SystemExit(f"{path} is no Keras model: {error}") from error
        audit = kl.certificates.audit(self._model)
        if audit.sha256 != served.certificate["sha256"]:
            raise SystemExit(
                f"{path} is not the model that was exported: their hashes "
                "differ."
            )
        self._find = kl.certificates.find_adversarials
        self._norm = served.certificate["norm"]

    def find_nearest(self, inputs):
        """Attacks one input within [0, 1].

        Args:
            inputs: Float32 array of shape `(1, *input_shape)`.

        Returns:
            Dict of `found`, and where it is true of `input`, `label` and
            `distance`.
        """
        inputs = np.clip(inputs, 0.0, 1.0)
        found = self._find(self._model, inputs, norm=self._norm, steps=60)
        if not np.isfinite(found.distances[0]):
            return {"found": False}
        return {
            "found": True,
            "input": found.inputs[0].tolist(),
            "label": int(found.labels[0]),
            "distance": float(found.distances[0]),
        }
