"""What every test of this library starts from."""

import contextlib
import json
import pathlib
import tempfile
import unittest
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import bounds
from keras_lip import layers
from keras_lip.constrain import forget_functions
from keras_lip.models import materialize
from keras_lip.program import freeze

# Their stock form is of parts that are bounded one by one.
LOOSER_STOCK = (
    layers.Householder,
    layers.SOCConv2D,
    layers.SandwichDense,
    layers.ScaledAveragePooling2D,
)

# Theirs holds squares and roots, which have no bound one by one.
UNBOUNDED_STOCK = (
    layers.GlobalL2NormPooling2D,
    layers.L2NormPooling2D,
    layers.ProjectionPooling,
)


class LipschitzTestCase(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Names count from the start. Python collects garbage by itself.
        keras.utils.clear_session(free_memory=False)

    def setUp(self):
        super().setUp()
        keras.config.disable_traceback_filtering()
        keras.utils.set_random_seed(1234)
        self.rng = np.random.default_rng(1234)

    @staticmethod
    @contextlib.contextmanager
    def needs_newer_keras(when=True):
        """Skips a test where an older Keras lacks or refuses something.

        Args:
            when: Whether it may.
        """
        try:
            yield
        except Exception as error:
            version = tuple(map(int, keras.__version__.split(".")[:2]))
            if not when or version >= (3, 15):
                raise
            raise unittest.SkipTest(
                f"Keras {keras.__version__}: {error}"
            ) from error

    def needs_newer_torch(self):
        """Skips a test of `torch.compile` that PyTorch 2.6 must fail."""
        import torch

        if torch.__version__.startswith("2.6."):
            self.skipTest("PyTorch 2.6 cannot compile an operation of Keras.")

    def normal(self, *shape, scale=1.0):
        return (scale * self.rng.normal(size=shape)).astype("float32")

    def temporary_path(self, name):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return pathlib.Path(directory.name) / name

    def singular_values(self, matrix):
        matrix = to_numpy(matrix).astype("float64")
        return np.linalg.svd(matrix, compute_uv=False)

    def assertAllClose(self, actual, desired, atol=1e-6, rtol=1e-6):
        np.testing.assert_allclose(
            to_numpy(actual), to_numpy(desired), atol=atol, rtol=rtol
        )

    def assertLipschitz(self, function, input_shape, bound, slack=1e-4):
        """No pair of inputs, far or near, is stretched by more than `bound`.

        Differences of float32 outputs are off by some 1e-6 of the outputs,
        which at a step of 0.1 is up to `slack` of the difference.
        """
        x = self.normal(64, *input_shape)
        for step in (1e1, 1e-1):
            y = x + self.normal(64, *input_shape, scale=step)
            change = to_numpy(function(y)) - to_numpy(function(x))
            stretch = _norms(change) / _norms(y - x)
            self.assertLessEqual(stretch.max(), bound * (1 + slack))

    def compile(self, function):
        """Returns a pure function of tensors, compiled on JAX.

        Otherwise JAX compiles each of its operations, which takes ten times as
        long.
        """
        if keras.backend.backend() != "jax":
            return function
        import jax

        return jax.jit(function)

    def compile_call(self, layer):
        """Returns a function that calls a built layer or model at inference."""
        if keras.backend.backend() != "jax":
            return layer

        def run(trainable, others, x):
            return layer.stateless_call(trainable, others, x)[0]

        compiled = self.compile(run)

        def call(x):
            trainable = [each.value for each in layer.trainable_variables]
            others = [each.value for each in layer.non_trainable_variables]
            return compiled(trainable, others, x)

        return call

    def plant(self, cls, name, value):
        """Replaces an attribute of a class for the time of a test.

        On an instance it would be noticed, and refused.
        """
        patch = mock.patch.object(cls, name, value)
        patch.start()
        forget_functions()
        self.addCleanup(forget_functions)
        self.addCleanup(patch.stop)

    def run_serialization_test(self, instance):
        serialized = keras.saving.serialize_keras_object(instance)
        restored = keras.saving.deserialize_keras_object(
            json.loads(json.dumps(serialized))
        )
        self.assertEqual(restored.get_config(), instance.get_config())

    def run_lipschitz_layer_test(
        self,
        layer_cls,
        init_kwargs,
        input_shape,
        expected_output_shape,
        expected_bound=1.0,
    ):
        """Checks that a layer keeps its contract, from birth to export.

        Args:
            layer_cls: Class of the layer.
            init_kwargs: Dict of its arguments.
            input_shape: Shape of one sample.
            expected_output_shape: Shape of one output sample.
            expected_bound: The bound that the layer must measure of itself,
                at birth and trained, or `None` if it depends on the weights.
        """
        layer = layer_cls(**init_kwargs)
        self.run_serialization_test(layer)

        inputs = keras.Input(input_shape)
        outputs = layer(inputs)
        self.assertEqual(outputs.shape, (None, *expected_output_shape))
        self.assertEqual(
            tuple(layer.compute_output_shape((None, *input_shape))),
            (None, *expected_output_shape),
        )
        model = keras.Model(inputs, outputs)
        call = self.compile_call(model)
        x = self.normal(64, *input_shape)

        # The guarantee holds at birth, ...
        self._check_guarantee(layer, call, input_shape, expected_bound)

        # ... after a step far too large for any other guard, ...
        if layer.trainable_weights:
            before = [to_numpy(w).copy() for w in layer.trainable_weights]
            model.compile(keras.optimizers.SGD(10.0), loss="mse")
            model.fit(x, self.normal(64, *expected_output_shape), verbose=0)
            for old, weight in zip(
                before, layer.trainable_weights, strict=True
            ):
                self.assertGreater(np.abs(to_numpy(weight) - old).max(), 0)
        self._check_guarantee(layer, call, input_shape, expected_bound)

        # ... once saved and loaded, ...
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertAllClose(self.compile_call(loaded)(x), call(x))
        self.assertEqual(
            bounds.lipschitz_bound(loaded), bounds.lipschitz_bound(model)
        )

        # ... read as numbers, which compute the same function, ...
        self._check_program(model, call, x)

        # ... and without this library: the same function, ...
        stock = materialize(model)
        found = self.compile_call(stock)(x)
        self.assertAllClose(found, call(x), atol=1e-5, rtol=1e-5)
        self.assertStock(stock)
        stock.save(path)
        loaded = self.compile_call(keras.models.load_model(path))
        self.assertAllClose(loaded(x), found)
        # ... or one that no estimate can spoil.
        proven = materialize(model, proven=True)
        bound = layer.lipschitz_bound() if expected_bound is None else 1.0
        proven = self.compile_call(proven)
        self.assertLipschitz(proven, input_shape, max(1.0, bound))

        # In mixed precision the constrained weights stay in float32, and the
        # bound is of the kernel that runs.
        mixed = layer_cls(**init_kwargs, dtype="mixed_bfloat16")
        outputs = mixed(x)
        self.assertEqual(
            keras.backend.standardize_dtype(outputs.dtype), "bfloat16"
        )
        self.assertTrue(np.isfinite(mixed.lipschitz_bound()))
        for weight in mixed.trainable_weights:
            self.assertEqual(weight.dtype, "float32")

        self._check_stock_bound(layer, model, stock)

    def _check_guarantee(self, layer, call, input_shape, expected_bound):
        bound = layer.lipschitz_bound()
        self.assertIsInstance(bound, float)
        self.assertLipschitz(call, input_shape, bound)
        if expected_bound is not None:
            self.assertAlmostEqual(bound, expected_bound, delta=1e-4)

    def _check_program(self, model, call, x):
        """The program that proofs are of computes what runs.

        Roundings are of the numbers that outputs are sums of, which a bound
        says the size of.
        """
        outputs = freeze(model).run(x)
        self.assertEqual(outputs.dtype, "float64")
        size = 1 + bounds.lipschitz_bound(model) * _norms(x) + _norms(outputs)
        off = _norms(outputs - to_numpy(call(x)))
        self.assertLessEqual((off / size).max(), 1e-5)

    def _check_stock_bound(self, layer, model, stock):
        """What a layer is written out of is known as what it was."""
        if isinstance(layer, UNBOUNDED_STOCK):
            with self.assertRaisesRegex(ValueError, "to be bounded|No Lips"):
                bounds.lipschitz_bound(stock)
            return
        bound, found = map(bounds.lipschitz_bound, (model, stock))
        if isinstance(layer, LOOSER_STOCK):
            self.assertGreaterEqual(found, bound * (1 - 1e-4))
        else:
            self.assertAlmostEqual(found, bound, delta=1e-4 * bound)

    def assertStock(self, model):
        """No layer or operation of the model is ours."""
        for layer in model._flatten_layers():
            self.assertNotIsInstance(layer, layers.LipschitzLayer)
            self.assertTrue(type(layer).__module__.startswith("keras."))


def to_numpy(tensor):
    """Returns any array or tensor, of any dtype, as NumPy."""
    if isinstance(tensor, np.ndarray | list | tuple | float | int):
        return np.asarray(tensor)
    tensor = ops.convert_to_tensor(tensor)
    if "bfloat16" in str(tensor.dtype):
        tensor = ops.cast(tensor, "float32")
    return ops.convert_to_numpy(tensor)


def _norms(batch):
    batch = batch.astype("float64")
    return np.linalg.norm(batch.reshape(len(batch), -1), axis=-1)
