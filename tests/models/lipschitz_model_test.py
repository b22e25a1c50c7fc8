import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(models.LipschitzModel):
    """Two blocks and a skip connection, written by hand."""

    def __init__(self, units=6, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first = layers.OrthogonalDense(units, parametrization="cayley")
        self.sort = layers.MaxMin()
        self.head = layers.UnitNormDense(3)

    def call(self, inputs):
        x = self.sort(self.first(inputs))
        return self.head(0.5 * inputs + 0.5 * x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def make_functional(units=6):
    inputs = keras.Input((6,))
    x = layers.OrthogonalDense(units, parametrization="cayley")(inputs)
    x = layers.ConvexPotentialDense(5)(x)
    outputs = layers.UnitNormDense(3)(layers.MaxMin()(x))
    return models.LipschitzModel(inputs, outputs, name="functional")


def make_sequential(units=6):
    return models.LipschitzSequential(
        [
            keras.Input((6,)),
            layers.OrthogonalDense(units, parametrization="cayley"),
            layers.ConvexPotentialDense(5),
            layers.MaxMin(),
            layers.UnitNormDense(3),
        ]
    )


def make_subclassed():
    model = Subclassed()
    model(np.zeros((1, 6)))
    return model


MAKERS = (make_functional, make_sequential, make_subclassed)


class LipschitzModelTest(LipschitzTestCase):
    def data(self, size=20):
        return self.normal(size, 6), self.rng.integers(0, 3, size)

    @parameterized.parameters(*MAKERS)
    def test_trains_saves_and_loads(self, make):
        model = make()
        model.compile(
            "adam",
            losses.MulticlassHinge(),
            metrics=["accuracy", metrics.CertifiedAccuracy(0.1)],
        )
        x, y = self.data()
        history = model.fit(
            x, y, batch_size=8, validation_data=(x, y), epochs=2, verbose=0
        ).history
        self.assertIn("val_certified_accuracy", history)
        self.assertLipschitz(model, (6,), bounds.lipschitz_bound(model))

        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertIs(type(loaded), type(model))
        self.assertIsInstance(loaded, models.LipschitzModel)
        self.assertAllClose(loaded(x), model(x), 0, 0)
        # The loaded model is compiled, its metric bound to it.
        self.assertAllClose(
            loaded.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0)
        )
        loaded.fit(x, y, verbose=0)

    @parameterized.parameters(make_functional, make_sequential)
    def test_config_round_trip(self, make):
        model = make()
        copy = type(model).from_config(model.get_config())
        self.assertIs(type(copy), type(model))
        copy.set_weights(model.get_weights())
        x, _ = self.data()
        self.assertAllClose(copy(x), model(x), 0, 0)

    @parameterized.parameters(make_functional, make_sequential)
    def test_clones_keep_their_class(self, make):
        model = make()
        clone = models.clone_model(model)
        self.assertIs(type(clone), type(model))
        self.assertEqual(
            [w.shape for w in clone.weights], [w.shape for w in model.weights]
        )
        self.assertGreater(
            np.abs(clone.get_weights()[0] - model.get_weights()[0]).max(), 0
        )

    def test_every_construction_is_a_lipschitz_model(self):
        for make in MAKERS:
            self.assertIsInstance(make(), models.LipschitzModel)
            self.assertIsInstance(make(), keras.Model)
        self.assertNotIsInstance(keras.Sequential(), models.LipschitzModel)

    def test_subclassing_works_before_and_after_a_functional_model(self):
        make_subclassed()
        make_functional()
        make_subclassed()
        inputs = keras.Input((6,))
        models.LipschitzModel(inputs=inputs, outputs=layers.MaxMin()(inputs))
        self.assertEqual(make_subclassed()(np.zeros((2, 6))).shape, (2, 3))

    def test_functional_subclasses_leave_other_classes_alone(self):
        class Plain(models.LipschitzModel):
            """Made of inputs and outputs."""

        class Sized(models.LipschitzModel):
            def __init__(self, units):
                inputs = keras.Input((6,))
                outputs = layers.OrthogonalDense(units)(inputs)
                super().__init__(inputs=inputs, outputs=outputs)

        class Derived(Sized):
            def __init__(self):
                super().__init__(2)

        inputs = keras.Input((6,))
        x = self.normal(2, 6)
        bases = models.LipschitzModel.__bases__
        for make, units in (
            (lambda: Plain(inputs, layers.OrthogonalDense(4)(inputs)), 4),
            (Derived, 2),
            (lambda: Sized(3), 3),
        ):
            for _ in range(2):
                model = make()
                self.assertIsInstance(model, models.LipschitzModel)
                self.assertIsInstance(model, keras.Model)
                self.assertEqual(model(x).shape, (2, units))
                self.assertAllClose(model.predict(x, verbose=0), model(x), 1e-5)
                self.assertAlmostEqual(
                    bounds.lipschitz_bound(model), 1.0, delta=1e-5
                )
        self.assertEqual(models.LipschitzModel.__bases__, bases)
        self.assertEqual(make_subclassed()(x).shape, (2, 3))
        with self.assertRaisesRegex(ValueError, "LayerNorm"):
            Plain(inputs, keras.layers.LayerNormalization()(inputs))

    def test_sequential_without_input_is_built_by_data(self):
        model = models.LipschitzSequential(
            [layers.OrthogonalDense(4), layers.UnitNormDense(3)]
        )
        metric = metrics.CertifiedAccuracy(0.0)
        model.compile("sgd", losses.MulticlassHinge(), metrics=[metric])
        x, y = self.data()
        model.fit(x, y, verbose=0)
        result = model.evaluate(x, y, verbose=0, return_dict=True)
        predicted = np.argmax(model.predict(x, verbose=0), axis=-1)
        self.assertAllClose(
            result["certified_accuracy"], np.mean(predicted == y)
        )

    def test_unbounded_layer_is_refused_at_construction(self):
        inputs = keras.Input((6,))
        outputs = keras.layers.LayerNormalization(name="culprit")(inputs)
        with self.assertRaisesRegex(ValueError, "'culprit' of type `LayerNorm"):
            models.LipschitzModel(inputs, outputs)
        with self.assertRaisesRegex(ValueError, "'culprit' of type `LayerNorm"):
            models.LipschitzSequential(
                [
                    layers.OrthogonalDense(4),
                    keras.layers.LayerNormalization(name="culprit"),
                ]
            )
        nested = keras.Model(inputs, outputs)
        with self.assertRaisesRegex(ValueError, "'culprit' of type `LayerNorm"):
            models.LipschitzSequential([keras.Input((6,)), nested])
        model = models.LipschitzSequential([keras.Input((6,))])
        with self.assertRaisesRegex(ValueError, "'late' of type `LayerNorm"):
            model.add(keras.layers.LayerNormalization(name="late"))
        model = models.LipschitzSequential([keras.Input((6,))])
        model.add(keras.layers.Softmax())
        self.assertEqual(bounds.lipschitz_bound(model), 0.5)

    def test_construction_measures_no_bound(self):
        # A bound of 2048 x 2048 weights takes seconds, a refusal must not.
        class Costly(layers.UnitNormDense):
            def lipschitz_bound(self):
                raise AssertionError

        model = models.LipschitzSequential([keras.Input((6,)), Costly(2)])
        with self.assertRaises(AssertionError):
            bounds.lipschitz_bound(model)

    def test_metrics_are_counted_once(self):
        model = make_functional()
        metric = metrics.CertifiedAccuracy(0.1)
        model.compile("sgd", losses.MulticlassHinge(), metrics=[metric])
        x, y = self.data()
        self.assertLen(model.evaluate(x, y, verbose=0), 2)

    def test_subclassed_model_with_unknown_operations_is_refused(self):
        class Net(models.LipschitzModel):
            def __init__(self):
                super().__init__()
                self.dense = layers.OrthogonalDense(6)

            def call(self, inputs):
                return self.dense(inputs) * inputs

        net = Net()
        net(np.zeros((1, 6)))
        with self.assertRaisesRegex(ValueError, "multiplies two tensors"):
            bounds.lipschitz_bound(net)

    def test_bound_of_each_construction_is_that_of_its_graph(self):
        # An orthogonal stack has the bound of its head; the skip connection
        # adds halves.
        for make in MAKERS:
            model = make()
            head = model.layers[-1].lipschitz_bound()
            self.assertAllClose(bounds.lipschitz_bound(model), head, rtol=1e-5)

    def test_live_models_are_not_exported_to_openvino(self):
        path = self.temporary_path("model.xml")
        for make in MAKERS:
            model = make()
            model(np.zeros((1, 6)))
            with self.assertRaisesRegex(ValueError, "materialize.*of type"):
                model.export(path, format="openvino")

    def test_live_models_are_exported_otherwise(self):
        if keras.backend.backend() == "torch":
            self.skipTest("Keras writes no SavedModel on PyTorch.")
        import tensorflow as tf

        path = str(self.temporary_path("model"))
        inputs = keras.Input((6,))
        outputs = layers.ConvexPotentialDense(5)(inputs)
        model = models.LipschitzModel(inputs, outputs)
        x = self.normal(4, 6)
        expected = model.predict(x, verbose=0)
        model.export(path, verbose=False)
        exported = tf.saved_model.load(path)
        try:
            found = exported.serve(x)
        except tf.errors.InvalidArgumentError as error:
            if "Cannot deserialize computation" not in str(error):
                raise
            self.skipTest(f"TensorFlow is older than JAX: {error}")
        self.assertAllClose(found, expected, 1e-5, 1e-5)
