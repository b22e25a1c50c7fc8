from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.models import materialize
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.program.enclose_model import enclose
from tests.program.enclose_model import norms_of


class LayerEnclosureTest(LipschitzTestCase):
    @parameterized.named_parameters(
        ("mean", lambda: keras.layers.AveragePooling2D(2), (6, 4, 2)),
        (
            "overlap",
            lambda: keras.layers.AveragePooling2D(3, 2, padding="same"),
            (5, 5, 2),
        ),
        ("global", keras.layers.GlobalAveragePooling2D, (6, 4, 2)),
        ("max", lambda: keras.layers.MaxPooling2D(3, 2), (7, 5, 2)),
        ("norm", lambda: layers.L2NormPooling2D(2), (6, 4, 2)),
        ("global_norm", layers.GlobalL2NormPooling2D, (6, 4, 2)),
        ("scaled", lambda: layers.ScaledAveragePooling2D(2), (6, 4, 2)),
        ("centering", layers.LayerCentering, (6, 4)),
        ("batch_centering", layers.BatchCentering, (6, 4)),
        ("householder", layers.Householder, (6, 4)),
        ("batch", keras.layers.BatchNormalization, (6, 4)),
        ("rescaling", lambda: keras.layers.Rescaling([0.1, -3.0], 0.7), (6, 2)),
        (
            "normalization",
            lambda: keras.layers.Normalization(mean=0.3, variance=0.2),
            (6, 2),
        ),
        ("relu6", lambda: keras.layers.ReLU(6.0), (6, 2)),
        ("capped", lambda: keras.layers.ReLU(0.3, 0.1), (6, 2)),
        (
            "prelu",
            lambda: keras.layers.PReLU(
                alpha_initializer=keras.initializers.RandomUniform(-1, 2)
            ),
            (6, 2),
        ),
        (
            "einsum",
            lambda: keras.layers.EinsumDense("abc,cd->adb", (3, 6)),
            (6, 4),
        ),
        (
            "time_distributed",
            lambda: keras.layers.TimeDistributed(keras.layers.Conv1D(3, 2)),
            (2, 5, 3),
        ),
        ("depthwise", lambda: keras.layers.DepthwiseConv2D(2), (4, 4, 3)),
        (
            "separable",
            lambda: keras.layers.SeparableConv1D(3, 2, depth_multiplier=2),
            (6, 3),
        ),
        (
            "transpose",
            lambda: keras.layers.Conv2DTranspose(3, 3, 2, padding="same"),
            (3, 4, 2),
        ),
        ("adjoint", lambda: layers.AOLConv2DTranspose(3, 3), (3, 4, 2)),
    )
    def test_execution_of_a_layer_is_within_its_bounds(self, make, shape):
        inputs = keras.Input(shape)
        model = keras.Model(inputs, make()(inputs))
        x = self.normal(7, *shape, scale=2.0)
        outputs = enclose(model, x)
        for executed in model(x), materialize(model)(x):
            off = norms_of(outputs.value - to_numpy(executed))
            allowed = outputs.error[0] + outputs.center
            self.assertTrue((off <= allowed).all())
        # A rounding is 6e-8 of a number.
        self.assertTrue((allowed <= 1e-4 * norms_of(x)).all())
        # The real function moves no faster than it drifts.
        run = freeze(model).run
        step = self.normal(*x.shape).astype("float64")
        moved = norms_of(run(x + step) - run(x))
        allowed = outputs.drift[1] * norms_of(step) + 1e-12
        self.assertTrue((moved <= allowed).all())

    def test_no_order_of_summation_breaks_the_bounds_of_an_average(self):
        # Numbers that make every partial sum be rounded down by a lot, if they
        # are added up one after the other.
        side, total, pixels = 64, np.float32(0), []
        for _ in range(side * side):
            half = np.spacing(total) / 2
            pixel = np.float32(1)
            if half > np.spacing(pixel):
                pixel = np.float32(1 + half - 4 * np.spacing(pixel))
            pixels.append(pixel)
            total = np.float32(total + pixel)
        x = np.array(pixels).reshape(1, side, side, 1)
        executed = total / np.float32(side * side)
        pooling = keras.layers.GlobalAveragePooling2D()
        window = keras.layers.AveragePooling2D(side)
        for layer in pooling, window:
            inputs = keras.Input((side, side, 1))
            outputs = enclose(keras.Model(inputs, layer(inputs)), x)
            off = abs(outputs.value.item() - executed)
            self.assertGreater(off, 1e-5)
            self.assertLessEqual(off, outputs.error[0, 0])

    @parameterized.parameters(1e20, 1e-30)
    def test_squares_that_leave_the_range_count(self, size):
        # In float32 they overflow, or are flushed to zero.
        for layer in layers.L2NormPooling2D(2), layers.GlobalL2NormPooling2D():
            inputs = keras.Input((2, 2, 1))
            model = keras.Model(inputs, layer(inputs))
            x = np.full((1, 2, 2, 1), size)
            outputs = enclose(model, x)
            self.assertAlmostEqual(outputs.value.item() / size, 2.0, delta=1e-6)
            with np.errstate(over="ignore"):
                squares = np.square(x.astype("float32"))
                executed = float(np.sqrt(np.sum(squares)))
            if np.isfinite(executed):
                off = abs(outputs.value.item() - executed)
                self.assertLessEqual(off, outputs.error[0, 0])
            else:
                self.assertLessEqual(outputs.limit[0], 0.0)

    def test_soft_threshold_rounds_what_it_subtracts_from(self):
        # Next to 2**24 numbers are two apart, and a half is lost each time.
        inputs = keras.Input((1,))
        shrink = keras.layers.Activation("soft_shrink")
        x = inputs
        for _ in range(8):
            x = shrink(x)
        outputs = enclose(keras.Model(inputs, x), np.array([[2.0**24 + 2]]))
        self.assertEqual(outputs.value[0, 0], 2.0**24 - 2)
        executed = np.float32(2.0**24 + 2)
        for _ in range(8):
            executed = np.float32(executed - np.float32(0.5))
        off = abs(outputs.value[0, 0] - executed)
        self.assertGreater(off, 3)
        self.assertLessEqual(off, outputs.error[0, 0])

    def test_rounding_errors_of_an_exponential_need_no_tight_proof(self):
        inputs = keras.Input((4, 4, 2))
        model = keras.Model(inputs, layers.SOCConv2D(2, 3)(inputs))
        with mock.patch(
            "keras_lip.program.nodes.convolution.convolution_norm_bound",
            side_effect=AssertionError("a proof that takes minutes"),
        ):
            outputs = enclose(model, x := self.normal(3, 4, 4, 2))
        off = norms_of(outputs.value - to_numpy(model(x)))
        allowed = outputs.error[0] + outputs.center
        self.assertTrue((off <= allowed).all())
        self.assertTrue((allowed <= 1e-4 * norms_of(x)).all())
