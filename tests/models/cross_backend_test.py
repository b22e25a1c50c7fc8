import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_lip import bounds
from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase

pytestmark = pytest.mark.slow


# Each backend's files are loaded on the one after it. All three suites together
# compare every backend with every other.
BACKENDS = ("tensorflow", "jax", "torch")

# Loads all models on another backend: those of this library with it, then stock
# ones without.
PROGRAM = """
import json, pathlib, sys
import keras
import numpy as np

def predict(path):
    model = keras.models.load_model(path)
    found = model.predict(np.load(path.with_suffix(".npy")), verbose=0)
    np.save(path.with_suffix(f".{keras.backend.backend()}.npy"), found)
    return model

folder = pathlib.Path(sys.argv[1])
sys.modules["keras_lip"] = None
for path in sorted(folder.glob("stock_*.keras")):
    predict(path)
del sys.modules["keras_lip"]
import keras_lip
proven = {
    path.name: keras_lip.bounds.lipschitz_bound(predict(path))
    for path in sorted(folder.glob("live_*.keras"))
}
print(json.dumps({"backend": keras.backend.backend(), "proven": proven}))
"""


def make_dense():
    return models.LipschitzSequential(
        [
            keras.Input((6,)),
            layers.OrthogonalDense(8),
            layers.GroupSort(4),
            layers.LipschitzDense(8, parametrization="spectral"),
            layers.SLLDense(5),
            layers.UnitNormDense(3, bias_initializer="normal"),
        ]
    )


def make_convolutional():
    inputs = keras.Input((4, 4, 2))
    x = layers.BCOPConv2D(4, 3)(inputs)
    x = layers.MaxMin()(x)
    x = layers.LipschitzConcatenate()([x, layers.AOLConv2D(4, 3)(x)])
    x = layers.InvertibleDownsampling2D(2)(x)
    x = layers.BatchCentering()(x)
    x = keras.layers.Flatten()(x)
    return models.LipschitzModel(inputs, layers.CurvatureHead(3, 5)(x))


class CrossBackendTest(LipschitzTestCase):
    def test_models_saved_here_are_the_same_on_another_backend(self):
        folder = self.temporary_path("x").parent
        saved = {}
        for name, make in ("dense", make_dense), ("conv", make_convolutional):
            model = make()
            x = self.normal(8, *model.inputs[0].shape[1:])
            # States of power iterations and of batches are saved as well.
            model(x, training=True)
            stock = models.materialize(model)
            for kind, saving in ("live", model), ("stock", stock):
                path = folder / f"{kind}_{name}.keras"
                saving.save(path)
                np.save(path.with_suffix(".npy"), x)
                saved[path] = saving.predict(x, verbose=0)
            path = folder / f"live_{name}.keras"
            loaded = keras.models.load_model(path)
            self.assertAllClose(loaded.predict(x, verbose=0), saved[path])
            saved[path.name] = bounds.lipschitz_bound(model)

        backend, proven = self.run_on_next(folder)
        for path in folder.glob("*.keras"):
            found = np.load(path.with_suffix(f".{backend}.npy"))
            self.assertAllClose(found, saved[path], atol=1e-5)
        self.assertLen(proven, 2)
        for name, bound in proven.items():
            # Kernels are constrained anew, in float32.
            self.assertAllClose(bound, saved[name], rtol=1e-5)

    def run_on_next(self, folder):
        """Returns another backend, and the bounds that it proves."""
        number = BACKENDS.index(keras.backend.backend())
        for backend in BACKENDS[number + 1 :] + BACKENDS[:number]:
            if importlib.util.find_spec(backend) is not None:
                break
        else:
            self.skipTest("No other backend is installed.")
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)],
            env=environment,
            capture_output=True,
            text=True,
        )
        self.assertEqual(process.returncode, 0, process.stderr)
        answer = json.loads(process.stdout.splitlines()[-1])
        self.assertEqual(answer["backend"], backend)
        return backend, answer["proven"]
