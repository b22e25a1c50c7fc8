import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.operators import FourierOperator
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# Even and odd sides have spectra of different forms.
SIDES = ((4, 6), (5, 3), (1, 1))


class FourierOperatorTest(LipschitzTestCase):
    @parameterized.parameters(*SIDES)
    def test_transform_is_that_of_numpy(self, rows, columns):
        x = self.normal(2, rows, columns, 3)
        operator = FourierOperator((rows, columns))
        spectrum = to_numpy(operator.transform(ops.convert_to_tensor(x)))
        expected = np.fft.rfft2(x, axes=(1, 2), norm="ortho")
        frequencies = np.arange(expected.shape[2])
        expected[:, :, 2 * frequencies % columns != 0] *= np.sqrt(2)
        expected = expected.reshape(2, -1, 3).transpose(1, 0, 2)
        self.assertAllClose(spectrum[..., :3], expected.real)
        self.assertAllClose(spectrum[..., 3:], expected.imag)

    @parameterized.parameters(*SIDES)
    def test_transform_is_an_isometry_that_its_adjoint_undoes(self, *sides):
        x = ops.convert_to_tensor(self.normal(2, *sides, 3))
        operator = FourierOperator(sides)
        spectrum = operator.transform(x)
        self.assertAllClose(
            np.square(to_numpy(spectrum)).sum(axis=(0, 2)),
            np.square(to_numpy(x)).sum(axis=(1, 2, 3)),
            1e-5,
        )
        self.assertAllClose(operator.invert(spectrum), x)

    @parameterized.parameters(*SIDES)
    def test_adjoint_keeps_its_identity(self, rows, columns):
        operator = FourierOperator((rows, columns))
        frequencies = rows * (columns // 2 + 1)
        kernel = ops.convert_to_tensor(self.normal(frequencies, 6, 4))
        x = self.normal(2, rows, columns, 3)
        y = self.normal(2, rows, columns, 2)
        image = operator.matvec(kernel, ops.convert_to_tensor(x))
        back = operator.adjoint(kernel, ops.convert_to_tensor(y))
        axes = (1, 2, 3)
        self.assertAllClose(
            np.sum(to_numpy(image) * y, axes),
            np.sum(x * to_numpy(back), axes),
            1e-4,
            1e-4,
        )

    @parameterized.parameters(*SIDES)
    def test_norm_is_at_most_that_of_the_kernel(self, rows, columns):
        operator = FourierOperator((rows, columns))
        frequencies = rows * (columns // 2 + 1)
        kernel = ops.convert_to_tensor(self.normal(frequencies, 6, 4))
        matrix = operator.as_matrix(kernel, (rows, columns, 3))
        self.assertLessEqual(
            self.singular_values(matrix).max(),
            self.singular_values(kernel).max() * (1 + 1e-6),
        )
