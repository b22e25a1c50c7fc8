import keras
import numpy as np
from absl.testing import parameterized

import keras_lip as kl
from keras_lip.models import materialize
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class LinfDenseTest(LipschitzTestCase):
    @parameterized.parameters((3, 5), (5, 3))
    def test_contract(self, inputs, units):
        # In l2 the layer may stretch by the root of its units.
        layer = kl.layers.LinfDense(units, activation="relu")
        self.run_serialization_test(layer)
        model = keras.Sequential([keras.Input((inputs,)), layer])
        x = self.normal(64, inputs)
        self.assertBounded(model, x)
        model.compile(keras.optimizers.SGD(10.0), "mse")
        before = to_numpy(layer.free_kernel).copy()
        model.fit(x, self.normal(64, units), verbose=0)
        self.assertGreater(
            np.abs(to_numpy(layer.free_kernel) - before).max(), 0
        )
        self.assertBounded(model, x)
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertAllClose(loaded(x), model(x))
        self.assertAllClose(freeze(model).run(x), model(x), 1e-5, 1e-5)
        for proven in False, True:
            stock = materialize(model, proven=proven)
            self.assertStock(stock)
            self.assertAllClose(stock(x), model(x), 1e-5, 1e-5)
            self.assertAlmostEqual(
                kl.bounds.lipschitz_bound(stock, "linf"),
                kl.bounds.lipschitz_bound(model),
                delta=1e-6,
            )
        self.assertLessEqual(kl.bounds.lipschitz_bound(stock, "linf"), 1.0)

    def assertBounded(self, model, x):
        bound = kl.bounds.lipschitz_bound(model)
        self.assertLessEqual(bound, 1 + 1e-6)
        y = x + self.normal(*x.shape)
        change = np.abs(to_numpy(model(y)) - to_numpy(model(x))).max(axis=1)
        distance = np.abs(y - x).max(axis=1)
        self.assertLessEqual((change / distance).max(), bound * (1 + 1e-5))

    def test_bound_is_the_largest_sum_of_a_row(self):
        layer = kl.layers.LinfDense(2)
        layer.build((None, 3))
        kernel = np.array([[0.1, 0.3], [0.2, -0.4], [-0.3, 0.25]], "float32")
        layer.set_weights([kernel, np.zeros(2, "float32")])
        self.assertAlmostEqual(layer.lipschitz_bound(), 0.95, delta=1e-7)

    def test_bound_is_attained_by_signs(self):
        layer = kl.layers.LinfDense(4)
        model = keras.Sequential([keras.Input((6,)), layer])
        signs = np.sign(to_numpy(layer.kernel)).T
        outputs = to_numpy(model(signs))
        self.assertAllClose(np.abs(outputs).max(), 1.0)

    def test_bound_in_l2_is_refused(self):
        model = keras.Sequential(
            [keras.Input((3,)), kl.layers.LinfDense(2, name="rows")]
        )
        with self.assertRaisesRegex(
            ValueError, "layer 'rows' of type `LinfDense` has none in l2"
        ):
            kl.bounds.lipschitz_bound(model, norm="l2")

    def test_mixed_norms_are_refused(self):
        layers = [
            kl.layers.LinfDense(4, name="rows"),
            kl.layers.OrthogonalDense(4, name="turn"),
        ]
        model = keras.Sequential([keras.Input((4,)), *layers])
        with self.assertRaisesRegex(
            ValueError,
            "layer 'rows' of type `LinfDense` has none in l2, layer 'turn' of "
            "type `OrthogonalDense` has none in linf. Norms cannot be mixed",
        ):
            kl.bounds.lipschitz_bound(model)
        inputs = keras.Input((4,))
        with self.assertRaisesRegex(ValueError, "Norms cannot be mixed"):
            kl.models.LipschitzModel(inputs, layers[1](layers[0](inputs)))
