import numpy as np
from absl.testing import parameterized
from keras import layers
from keras import ops

from keras_lip.operators import ConvolutionOperator
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

CASES = tuple(
    (size, stride, padding, mode)
    for size in (1, 2, 3, 5)
    for stride in (1, 2, 3)
    for padding, mode in (
        ("same", "circular"),
        ("same", "zeros"),
        ("valid", "zeros"),
    )
)


class ConvolutionOperatorTest(LipschitzTestCase):
    @parameterized.parameters(*CASES)
    def test_adjoint_keeps_its_identity(self, size, stride, padding, mode):
        operator = ConvolutionOperator((stride, 1), padding, mode)
        kernel = ops.convert_to_tensor(self.normal(size, 2, 3, 4))
        # Sides that leave nothing over.
        side = 2 * stride + max(size, stride) if padding == "valid" else 6
        x = ops.convert_to_tensor(self.normal(2, side, 5, 3))
        image = to_numpy(operator.matvec(kernel, x))
        y = self.normal(*image.shape)
        back = to_numpy(operator.adjoint(kernel, ops.convert_to_tensor(y)))
        self.assertEqual(back.shape, tuple(x.shape))
        axes = (1, 2, 3)
        self.assertAllClose(
            np.sum(image * y, axes),
            np.sum(to_numpy(x) * back, axes),
            1e-4,
            1e-4,
        )

    @parameterized.parameters((3, 1, 1), (3, 2, 1), (2, 1, 2), (4, 4, 1))
    def test_zero_padding_is_that_of_a_stock_layer(self, size, stride, rate):
        for padding in ("same", "valid"):
            stock = layers.Conv2D(
                4,
                size,
                strides=stride,
                padding=padding,
                dilation_rate=rate,
                data_format="channels_last",
                use_bias=False,
            )
            x = ops.convert_to_tensor(self.normal(2, 7, 9, 3))
            expected = stock(x)
            operator = ConvolutionOperator(
                (stride, stride), padding, "zeros", (rate, rate)
            )
            kernel = ops.convert_to_tensor(stock.kernel)
            self.assertAllClose(operator.matvec(kernel, x), expected, 1e-5)

    @parameterized.product(
        size=(1, 2, 3, 4, 5), stride=(1, 2), rate=(1, 2), side=(6, 8)
    )
    def test_circular_matrix_is_made_of_wrapped_taps(
        self, size, stride, rate, side
    ):
        if stride > 1 and rate > 1:
            rate = 1
        if (size - 1) * rate >= 2 * side - 1:
            return
        operator = ConvolutionOperator(
            (stride,), dilation_rate=(rate,), padding_mode="circular"
        )
        kernel = self.normal(size, 2, 3)
        matrix = operator.as_matrix(ops.convert_to_tensor(kernel), (side, 2))
        before = max((size - 1) * rate + 1 - stride, 0) // 2
        expected = np.zeros((side // stride, 3, side, 2))
        for output in range(side // stride):
            for tap in range(size):
                pixel = (stride * output + tap * rate - before) % side
                expected[output, :, pixel] += kernel[tap].T
        self.assertAllClose(matrix, expected.reshape(matrix.shape), 1e-6)

    def test_sides_that_strides_do_not_divide_are_refused(self):
        operator = ConvolutionOperator((2, 2))
        kernel = ops.ones((3, 3, 1, 1))
        with self.assertRaisesRegex(ValueError, "multiples of the strides"):
            operator.matvec(kernel, ops.ones((1, 4, 5, 1)))

    def test_images_shorter_than_the_padding_are_refused(self):
        with self.assertRaisesRegex(ValueError, "longer than the image"):
            ConvolutionOperator().matvec(
                ops.ones((7, 7, 1, 1)), ops.ones((1, 2, 9, 1))
            )
