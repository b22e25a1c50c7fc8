import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.operators import pad_circular
from keras_lip.operators import pad_zeros
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.operators.new_tensors import count_new_tensors

WIDTHS = [(0, 0), (1, 2), (0, 3)]


class PadZerosTest(LipschitzTestCase):
    def test_zeros_are_added_before_and_after(self):
        x = self.normal(2, 3, 4)
        padded = pad_zeros(ops.convert_to_tensor(x), WIDTHS)
        self.assertAllClose(padded, np.pad(x, WIDTHS), 0, 0)

    def test_zeros_are_added_where_torch_compiles(self):
        if keras.backend.backend() != "torch":
            self.skipTest("The test is of `torch.compile`.")
        import torch

        x = self.normal(2, 3, 4)
        pad = torch.compile(
            lambda x: pad_zeros(x, WIDTHS), fullgraph=True, backend="eager"
        )
        self.assertAllClose(pad(torch.tensor(x)), np.pad(x, WIDTHS), 0, 0)


class PadCircularTest(LipschitzTestCase):
    @parameterized.parameters(
        [[(1, 1), (1, 1)]],
        [[(0, 1), (2, 0)]],
        [[(4, 3), (0, 0)]],
        [[(4, 4), (5, 5)]],
        [[(2, 1)]],
        [[(0, 0)]],
    )
    def test_images_and_gradients_are_those_of_numpy(self, padding):
        shape = (2, *(4, 5)[: len(padding)], 3)
        x = self.normal(*shape)
        widths = [(0, 0), *padding, (0, 0)]
        wrapped = np.pad(x, widths, mode="wrap")
        padded = pad_circular(ops.convert_to_tensor(x), padding)
        self.assertAllClose(padded, wrapped, 0, 0)
        upstream = self.normal(*wrapped.shape)
        # What stands for one pixel is added up.
        indices = np.pad(np.arange(x.size).reshape(shape), widths, mode="wrap")
        expected = np.bincount(indices.ravel(), upstream.ravel().astype("f8"))

        def function(x):
            return ops.sum(ops.multiply(pad_circular(x, padding), upstream))

        actual = gradient(function, ops.convert_to_tensor(x))
        self.assertAllClose(actual, expected.reshape(shape), 1e-5, 1e-5)

    def test_padding_longer_than_the_image_is_refused(self):
        with self.assertRaisesRegex(ValueError, "cannot be longer"):
            pad_circular(ops.zeros((1, 2, 3)), [(3, 0)])

    def test_torch_differentiates_in_every_way(self):
        if keras.backend.backend() != "torch":
            self.skipTest("The others have no gradient of their own.")
        import torch

        def function(x):
            return pad_circular(x, [(1, 2), (0, 1)])

        x = torch.tensor(self.normal(2, 3, 4, 2), dtype=torch.float64)
        x.requires_grad_()
        self.assertTrue(
            torch.autograd.gradcheck(function, x, check_forward_ad=True)
        )
        self.assertTrue(torch.autograd.gradgradcheck(function, x))
        x = x.detach()
        matrix = torch.func.jacrev(function)(x[:1])
        self.assertTrue(torch.equal(matrix, torch.func.jacfwd(function)(x[:1])))
        each = torch.func.vmap(lambda x: function(x[None])[0])(x)
        self.assertTrue(torch.equal(each, function(x)))

    def test_torch_writes_images_and_gradients_once(self):
        if keras.backend.backend() != "torch":
            self.skipTest("The others write what their compilers decide.")
        import torch

        x = torch.tensor(self.normal(4, 8, 8, 4), requires_grad=True)
        size, outputs = 4 * 8 * 8 * 4, []

        def run():
            outputs.append(pad_circular(x, [(1, 1), (1, 1)]))

        self.assertEqual(count_new_tensors(run, size), 1)
        upstream = torch.tensor(self.normal(4, 10, 10, 4))
        kept = to_numpy(upstream)
        count = count_new_tensors(lambda: outputs[0].backward(upstream), size)
        # The sum, and where it is accumulated.
        self.assertLessEqual(count, 2)
        self.assertAllClose(upstream, kept, 0, 0)
