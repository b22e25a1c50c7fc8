import numpy as np
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import layers
from keras_lip.program import freeze_layer
from tests.lipschitz_test_case import LipschitzTestCase


class BetaAbsTest(LipschitzTestCase):
    @parameterized.parameters(
        ({}, (6,)),
        ({"beta": 0.0}, (5,)),
        ({"beta": 1.0, "axis": 1}, (3, 4)),
        ({"beta": 0.3, "axis": -2}, (2, 4, 3)),
    )
    def test_contract(self, kwargs, shape):
        self.run_lipschitz_layer_test(layers.BetaAbs, kwargs, shape, shape)

    @parameterized.parameters((0.5, 5, 2), (0.99, 4, 3), (0.2, 4, 0), (1, 3, 3))
    def test_a_share_of_the_channels_are_moduli(self, beta, channels, count):
        x = self.normal(8, channels)
        outputs = layers.BetaAbs(beta)(x)
        expected = np.concatenate([np.abs(x[:, :count]), x[:, count:]], axis=1)
        self.assertAllClose(outputs, expected, 0, 0)
        layer = layers.BetaAbs(beta)
        layer.build((None, channels))
        self.assertAllClose(freeze_layer(layer).run(x), expected, 0, 0)
        self.assertEqual(layer.lipschitz_bound(), 1.0)

    def test_it_is_max_min_between_orthogonal_matrices(self):
        # Of the sum and the difference of a pair, the modulus of the latter.
        turn = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
        x = self.normal(16, 2)
        folded = layers.BetaAbs(0.5)(x @ turn)
        self.assertAllClose(
            np.asarray(folded) @ turn.T, np.sort(x)[:, ::-1], 1e-6, 1e-6
        )

    def test_the_bound_holds_in_every_norm(self):
        layer = layers.BetaAbs()
        layer.build((None, 4))
        for norm in ("l2", "linf"):
            self.assertEqual(bounds.propagate_bound(layer, 1.0, norm), 1.0)

    def test_invalid_arguments_are_refused(self):
        for beta in (-0.1, 1.1, "1"):
            with self.assertRaisesRegex((TypeError, ValueError), "`beta`"):
                layers.BetaAbs(beta)
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.BetaAbs(axis=0)(np.ones((2, 3)))
        with self.assertRaisesRegex(ValueError, "is not built"):
            layers.BetaAbs().lipschitz_bound()
