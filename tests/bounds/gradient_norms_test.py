import keras
import numpy as np

from keras_lip import layers
from keras_lip.bounds import gradient_norms
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class GradientNormsTest(LipschitzTestCase):
    def test_norms_are_those_of_products_of_matrices(self):
        kinds = [keras.layers.Dense(5, name=name) for name in "abc"]
        model = keras.Sequential([keras.Input((4,), name="x"), *kinds])
        weights = self.normal(3, 5)
        norms = gradient_norms(model, self.normal(3, 4), weights)
        self.assertEqual(list(norms), ["x", "a", "b", "c"])
        gradient = weights.astype("float64")
        for name, layer in zip("cba", reversed(kinds), strict=True):
            expected = np.linalg.norm(gradient, axis=1)
            self.assertAllClose(norms[name], expected, 1e-12, 1e-12)
            gradient = gradient @ to_numpy(layer.kernel).astype("float64").T
        expected = np.linalg.norm(gradient, axis=1)
        self.assertAllClose(norms["x"], expected, 1e-12, 1e-12)

    def test_orthogonal_layers_preserve_norms_and_relu_does_not(self):
        def make(activation):
            return keras.Sequential(
                [
                    keras.Input((4, 4, 4)),
                    layers.BCOPConv2D(4, 3),
                    activation,
                    keras.layers.Flatten(name="flat"),
                    layers.OrthogonalDense(10, name="dense"),
                ]
            )

        x = self.normal(6, 4, 4, 4)
        for norms in gradient_norms(make(layers.MaxMin()), x).values():
            self.assertAllClose(norms, np.ones(6), 1e-5)
        model = make(keras.layers.ReLU())
        norms = gradient_norms(model, x)
        self.assertAllClose(norms["dense"], np.ones(6), 1e-12)
        self.assertAllClose(norms["flat"], np.ones(6), 1e-5)
        self.assertLess(norms[model.layers[0].name].max(), 0.95)
        other = gradient_norms(model, x, seed=1)
        self.assertGreater(
            np.abs(
                other[model.layers[0].name] - norms[model.layers[0].name]
            ).max(),
            1e-3,
        )

    def test_branches_and_repeated_layers_are_added_up(self):
        shared = keras.layers.Dense(
            2, use_bias=False, kernel_initializer="identity", name="shared"
        )
        inputs = keras.Input((2,), name="x")
        first = shared(inputs)
        double = keras.layers.Dense(2, use_bias=False, name="double")
        second = double(first)
        double.kernel.assign(2 * np.eye(2))
        outputs = keras.layers.Add(name="add")([shared(first), first, second])
        model = keras.Model(inputs, outputs)
        norms = gradient_norms(model, np.ones((1, 2)), [[3.0, 4.0]])
        self.assertEqual(
            {name: float(value[0]) for name, value in norms.items()},
            {"x": 20, "shared": 20, "double": 5, "shared (2)": 5, "add": 5},
        )

    def test_invalid_arguments_are_refused(self):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        x = np.ones((4, 2))
        for shape in ((4, 2), (3, 3), (3,)):
            with self.assertRaisesRegex(ValueError, r"outputs, \(4, 3\)"):
                gradient_norms(model, x, np.ones(shape))
        with self.assertRaisesRegex(ValueError, "at least one sample"):
            gradient_norms(model, x[:0])
        softmax = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
        softmax.add(keras.layers.LayerNormalization())
        with self.assertRaisesRegex(ValueError, "No Lipschitz|bound"):
            gradient_norms(softmax, x)
        inputs = [keras.Input((2,)), keras.Input((2,))]
        two = keras.Model(inputs, keras.layers.Add()(inputs))
        with self.assertRaisesRegex(ValueError, "one input"):
            gradient_norms(two, x)
