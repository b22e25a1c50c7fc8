import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip import parametrizations
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


@keras.saving.register_keras_serializable(package="tests")
class CountingCayley(parametrizations.Cayley):
    """A parametrization with a state: how often a training step used it."""

    def initial_state(self, shape):
        return {"uses": np.zeros((), "float32"), "tall": np.ones(shape)}

    def constrain(self, matrix, state, training):
        matrix, _ = super().constrain(matrix, {}, training)
        return matrix, {**state, "uses": state["uses"] + 1.0}


class OrthogonalDenseTest(LipschitzTestCase):
    @parameterized.parameters(
        ("bjorck", 3, True),
        ("bjorck", 5, False),
        ("bjorck", 8, True),
        ("cayley", 3, False),
        ("cayley", 5, True),
        ("cayley", 8, False),
    )
    def test_contract(self, parametrization, units, use_bias):
        self.run_lipschitz_layer_test(
            layers.OrthogonalDense,
            init_kwargs={
                "units": units,
                "parametrization": parametrization,
                "use_bias": use_bias,
            },
            input_shape=(5,),
            expected_output_shape=(units,),
        )

    def test_contract_with_every_argument(self):
        self.run_lipschitz_layer_test(
            layers.OrthogonalDense,
            init_kwargs={
                "units": 4,
                "parametrization": parametrizations.Bjorck(30),
                "activation": "sigmoid",
                "kernel_initializer": "glorot_normal",
                "bias_initializer": "ones",
                "kernel_regularizer": "l2",
                "bias_regularizer": "l1",
            },
            input_shape=(2, 6),
            expected_output_shape=(2, 4),
            expected_bound=0.25,
        )

    @parameterized.parameters(("bjorck", 3), ("cayley", 3), ("cayley", 9))
    def test_kernel_is_orthogonal(self, parametrization, units):
        layer = layers.OrthogonalDense(units, parametrization=parametrization)
        layer.build((None, 6))
        self.assertAllClose(
            self.singular_values(layer.kernel), np.ones(min(6, units)), 1e-5
        )

    def test_outputs_are_those_of_the_kernel(self):
        layer = layers.OrthogonalDense(3, bias_initializer="ones")
        x = self.normal(4, 5)
        outputs = layer(x)
        self.assertAllClose(outputs, x @ to_numpy(layer.kernel) + 1, 1e-5)

    def test_inner_axes_are_batch_axes(self):
        layer = layers.OrthogonalDense(3)
        x = self.normal(2, 7, 5)
        self.assertAllClose(layer(x)[:, 4], layer(x[:, 4]), 1e-5)

    def test_mixed_precision_constrains_in_float32(self):
        class Spy(parametrizations.Bjorck):
            def constrain(self, matrix, state, training):
                self.seen = keras.backend.standardize_dtype(matrix.dtype)
                return super().constrain(matrix, state, training)

        spy = Spy()
        layer = layers.OrthogonalDense(8, spy, dtype="mixed_bfloat16")
        layer(self.normal(2, 8))
        self.assertEqual(spy.seen, "float32")

    def test_bound_is_that_of_the_rounded_kernel(self):
        exact = layers.OrthogonalDense(64, use_bias=False)
        rounded = layers.OrthogonalDense(
            64, use_bias=False, dtype="mixed_bfloat16"
        )
        for layer in (exact, rounded):
            image = ops.cast(layer(ops.eye(64)), "float32")
            largest = self.singular_values(image).max()
            self.assertAllClose(layer.lipschitz_bound(), largest)
            self.assertGreaterEqual(layer.lipschitz_bound(), largest)
        self.assertGreater(rounded.lipschitz_bound(), 1.0005)

    def test_state_moves_in_training_steps_alone(self):
        layer = layers.OrthogonalDense(3, CountingCayley())
        model = keras.Sequential([keras.Input((5,)), layer])
        model.compile("sgd", "mse")
        x, y = self.normal(8, 5), self.normal(8, 3)
        model.predict(x, verbose=0)
        model.evaluate(x, y, verbose=0)
        self.assertEqual(float(layer.state["uses"]), 0)
        model.fit(x, y, batch_size=4, verbose=0)
        self.assertEqual(float(layer.state["uses"]), 2)
        self.assertEqual(tuple(layer.state["tall"].shape), (5, 3))
        self.assertLen(model.non_trainable_weights, 2)

        path = self.temporary_path("model.keras")
        model.save(path)
        restored = keras.models.load_model(path).layers[-1]
        self.assertEqual(float(restored.state["uses"]), 2)

    def test_invalid_arguments_are_refused(self):
        for units in (0, -1, 2.5, None, True):
            with self.assertRaisesRegex(ValueError, f"Received: units={units}"):
                layers.OrthogonalDense(units)
        with self.assertRaisesRegex(ValueError, "'bjorck', 'block_ref"):
            layers.OrthogonalDense(3, parametrization="bjork")
        with self.assertRaisesRegex(ValueError, "'gulp'.*relu, relu6"):
            layers.OrthogonalDense(3, activation="gulp")
        with self.assertRaisesRegex(ValueError, "'exponential'.*known ones"):
            layers.OrthogonalDense(3, activation="exponential")

    def test_parametrization_must_be_orthogonal(self):
        class Halving(parametrizations.Parametrization):
            def constrain(self, matrix, state, training):
                return matrix / 2, state

        with self.assertRaisesRegex(ValueError, "needs an orthogonal"):
            layers.OrthogonalDense(3, Halving())

    def test_inputs_of_another_shape_are_refused(self):
        layer = layers.OrthogonalDense(3)
        with self.assertRaisesRegex(ValueError, "expected min_ndim=2"):
            layer(self.normal(4))
        with self.assertRaisesRegex(ValueError, "must have a known size"):
            layer.build((None, None))
        layer(self.normal(4, 5))
        with self.assertRaisesRegex(ValueError, "axis -1"):
            layer(self.normal(4, 6))
