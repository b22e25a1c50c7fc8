import keras
import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import callbacks
from keras_lip import layers
from keras_lip import losses
from keras_lip import parametrizations
from keras_lip.applications import BRONet
from keras_lip.applications import LipNeXt
from keras_lip.applications import LiResNet
from tests.applications.application_test_case import ApplicationTestCase
from tests.lipschitz_test_case import to_numpy

pytestmark = pytest.mark.slow

SMALL = {
    "input_shape": (16, 8, 3),
    "classes": 3,
    "depth": 2,
    "width": 4,
    "dense_depth": 2,
    "units": 6,
}
STEM = 5 * 5 * 3 * 512 + 512
NECK = 16 * 512 * 512 + 16 * 512 * 2048 + 2048
DENSE = 8 * (2048 * 2048 + 2 * 2048)
HEAD = 2048 * 10 + 10


class MeasuredNetsTest(ApplicationTestCase):
    @parameterized.parameters(
        # 83 M and 68 M are published, of `12 (9 * 512 * 512 + 2 * 512)`
        # in the convolutions, and of half of it.
        (LiResNet, {}, STEM + 12 * (9 * 512**2 + 1024) + NECK + DENSE + HEAD),
        (
            BRONet,
            {},
            STEM + 12 * (9 * 512**2 // 2 + 1024) + NECK + DENSE + HEAD,
        ),
        (
            BRONet,
            {
                "input_shape": (64, 64, 3),
                "classes": 200,
                "depth": 6,
                "rank_ratio": 1 / 8,
                "dense_depth": 4,
                "parametrization": parametrizations.BlockReflector(1 / 8),
            },
            STEM
            + 6 * (9 * 512 * 64 + 1024)
            + 16 * 512 * 512
            + 64 * 512 * 2048
            + 2048
            + 4 * (2048 * 256 + 2 * 2048)
            + 2048 * 200
            + 200,
        ),
    )
    def test_parameters_of_the_published_sizes(self, make, kwargs, expected):
        self.assertEqual(self.count_parameters(make, **kwargs), expected)

    def test_parameters_are_as_many_as_are_published(self):
        self.assertEqual(round(self.count_parameters(LiResNet) / 1e6), 83)
        self.assertEqual(self.count_parameters(BRONet) // 10**6, 68)
        for width, published in ((1024, 64), (2048, 256)):
            count = self.count_parameters(LipNeXt, width=width)
            self.assertEqual(round(count / 2**20), published)
            # Of each block two matrices, a bias and 16 x 16 pixels.
            expected = 32 * (2 * width**2 + width + 256)
            expected += 12 * width + width + width * 10 + 10
            self.assertEqual(count, expected)

    @parameterized.product(make=(LiResNet, BRONet), scan_blocks=(False, True))
    def test_contract(self, make, scan_blocks):
        model = make(**SMALL, scan_blocks=scan_blocks)
        trunk = keras.Model(model.inputs, model.layers[-1].input)
        bound = bounds.lipschitz_bound(trunk)
        if make is BRONet:
            stem = next(
                each
                for each in model.layers
                if isinstance(each, layers.FreeConv2D)
            )
            to_stem = keras.Model(model.inputs, stem.output)
            self.assertAlmostEqual(
                bound, bounds.lipschitz_bound(to_stem), delta=1e-4 * bound
            )
        head = model.layers[-1].lipschitz_bound()
        self.run_application_test(model, bound * head * (1 + 1e-5))

    @parameterized.parameters(False, True)
    def test_lip_next(self, scan_blocks):
        model = LipNeXt((8, 4, 3), 3, depth=2, width=8, scan_blocks=scan_blocks)
        head = model.layers[-1].lipschitz_bound()
        self.run_application_test(model, head * (1 + 1e-5))

    def test_layers_are_those_of_the_paper(self):
        kinds = [type(layer).__name__ for layer in LiResNet(**SMALL).layers]
        convolution = ["LipschitzResidualConv2D", "BatchCentering", "MaxMin"]
        dense = ["OrthogonalDense", "MaxMin"]
        expected = ["Rescaling", "FreeConv2D", "MaxMin", *convolution * 2]
        expected += ["RKOConv2D", "Flatten", *dense * 3, "UnitNormDense"]
        self.assertEqual(kinds, expected)
        kinds = [
            type(layer).__name__
            for layer in BRONet(**SMALL, centering=False).layers
        ]
        expected = ["Rescaling", "FreeConv2D", "MaxMin"]
        expected += ["BROConv2D", "MaxMin"] * 2
        expected += ["RKOConv2D", "Flatten", *dense * 3, "UnitNormDense"]
        self.assertEqual(kinds, expected)

    def test_scales_are_inverse_roots_of_the_depths(self):
        model = LiResNet(**{**SMALL, "depth": 4})
        for layer in model.layers:
            if isinstance(layer, layers.LipschitzResidualConv2D):
                self.assertEqual(layer.scale, 0.5)
                self.assertFalse(layer.use_bias)
        scales = [
            layer.residual_scale
            for layer in model.layers
            if isinstance(layer, layers.OrthogonalDense)
        ]
        self.assertEqual(scales, [None, 2**-0.5, 2**-0.5])

    @parameterized.parameters(
        (LiResNet, losses.EMMA, False), (BRONet, losses.LogitAnnealing, True)
    )
    def test_networks_train_with_their_losses(self, make, loss_cls, scan):
        model = make(**SMALL, scan_blocks=scan)
        x = self.rng.uniform(size=(24, *SMALL["input_shape"]))
        y = np.arange(24) % 3
        # Three kinds of pictures.
        x = (x + y[:, None, None, None]) / 3
        model.compile(keras.optimizers.Nadam(1e-2), loss_cls(0.0))
        scheduler = callbacks.EpsilonScheduler(lambda epoch: 0.01 * epoch)
        history = model.fit(
            x, y, epochs=5, batch_size=8, verbose=0, callbacks=[scheduler]
        ).history["loss"]
        self.assertLess(history[-1], history[0])
        for weight in model.weights:
            self.assertTrue(np.isfinite(to_numpy(weight)).all())

    def test_invalid_arguments_are_refused(self):
        for make in (LiResNet, BRONet):
            with self.assertRaisesRegex(ValueError, "multiples of 12,"):
                make(**SMALL, stem_strides=3)
            with self.assertRaisesRegex(ValueError, "`depth` must be a pos"):
                make(**{**SMALL, "depth": 0})
            with self.assertRaisesRegex(ValueError, "orthogonal parametriz"):
                make(**SMALL, parametrization="aol")
        with self.assertRaisesRegex(ValueError, "at least four channels"):
            LipNeXt((8, 8, 3), depth=1, width=2)
        with self.assertRaisesRegex(
            ValueError, r"multiples of 2,.*\(8, 8, 3\)"
        ):
            LipNeXt((8, 7, 3), depth=1, width=4)
        with self.assertRaisesRegex(ValueError, "longer than `shift`"):
            LipNeXt((2, 8, 3), depth=1, width=4)

    def test_channels_are_last_whatever_the_configuration(self):
        self.addCleanup(
            keras.config.set_image_data_format,
            keras.config.image_data_format(),
        )
        keras.config.set_image_data_format("channels_first")
        model = LipNeXt((8, 4, 3), depth=1, width=8, patch_size=1)
        self.assertEqual(
            [tuple(layer.output.shape) for layer in model.layers],
            [(None, 8, 4, 8), (None, 8, 4, 8), (None, 8), (None, 10)],
        )
