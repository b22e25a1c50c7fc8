from absl.testing import parameterized
from keras import ops

from keras_lip.linalg import kernel_spectrum
from keras_lip.operators import ConvolutionOperator
from keras_lip.operators import FourierOperator
from tests.lipschitz_test_case import LipschitzTestCase


class KernelSpectrumTest(LipschitzTestCase):
    @parameterized.parameters(
        ((3, 3), (6, 6)), ((1, 2), (4, 5)), ((4, 5), (3, 4))
    )
    def test_spectrum_gives_the_circular_convolution(self, window, sides):
        kernel = ops.convert_to_tensor(self.normal(*window, 2, 3))
        x = ops.convert_to_tensor(self.normal(2, *sides, 2))
        real, imaginary = kernel_spectrum(kernel, sides)
        top = ops.concatenate([real, imaginary], axis=-1)
        bottom = ops.concatenate([-imaginary, real], axis=-1)
        spectrum = ops.concatenate([top, bottom], axis=-2)
        self.assertAllClose(
            FourierOperator(sides).matvec(spectrum, x),
            ConvolutionOperator().matvec(kernel, x),
            1e-5,
        )
