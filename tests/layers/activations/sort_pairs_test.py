import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.layers.activations.sort_pairs import sort_pairs
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class SortPairsTest(LipschitzTestCase):
    @parameterized.product(axis=(-1, 1, 2), descending=(False, True))
    def test_values_and_gradients_are_moved(self, axis, descending):
        x = self.normal(5, 6, 4)
        weights = self.normal(5, 6, 4)
        moved = np.moveaxis(x, axis, -1)
        pairs = moved.reshape(*moved.shape[:-1], -1, 2)
        order = np.argsort(-pairs if descending else pairs, axis=-1)
        expected = np.take_along_axis(pairs, order, -1).reshape(moved.shape)
        outputs = sort_pairs(ops.convert_to_tensor(x), axis, descending)
        self.assertAllClose(outputs, np.moveaxis(expected, -1, axis), 0, 0)

        slope = gradient(
            lambda t: ops.multiply(sort_pairs(t, axis, descending), weights),
            ops.convert_to_tensor(x),
        )
        given = np.moveaxis(weights, axis, -1).reshape(pairs.shape)
        expected = np.empty_like(given)
        np.put_along_axis(expected, order, given, -1)
        expected = np.moveaxis(expected.reshape(moved.shape), -1, axis)
        self.assertAllClose(slope, expected, 0, 0)

    @parameterized.parameters(-1, 1)
    def test_nan_spreads_over_its_pair(self, axis):
        x = np.zeros((2, 2, 2), "float32")
        x[0, 0, 1] = x[1, 1, 0] = np.nan
        outputs = to_numpy(sort_pairs(ops.convert_to_tensor(x), axis, True))
        expected = np.array([[2, 0], [0, 2]])
        if axis == 1:
            expected = expected[:, ::-1]
        self.assertAllClose(np.isnan(outputs).sum(axis=axis), expected)

    def test_second_derivatives(self):
        if keras.backend.backend() == "torch":
            self.skipTest("A gradient has no graph on PyTorch.")
        x = ops.convert_to_tensor(self.normal(3, 4))

        def cube(t):
            return sort_pairs(t, -1, True) ** 3

        second = gradient(lambda t: gradient(cube, t), x)
        self.assertAllClose(second, 6 * to_numpy(x), 1e-5)

    @parameterized.product(axis=(-1, 1, 2), descending=(False, True))
    def test_transforms_of_pytorch(self, axis, descending):
        if keras.backend.backend() != "torch":
            self.skipTest("Only PyTorch sorts with its own derivatives.")
        import torch

        def sort(x):
            return sort_pairs(x, axis, descending)

        def sort_by_torch(x):
            dim = axis if axis < 0 else axis - 3
            pairs = x.unflatten(dim, (-1, 2))
            values, _ = pairs.sort(dim=dim, descending=descending)
            return values.flatten(dim - 1, dim)

        x = torch.tensor(self.normal(2, 4, 2), dtype=torch.float64)
        x.requires_grad_()
        self.assertTrue(
            torch.autograd.gradcheck(
                sort, x, check_forward_ad=True, check_batched_grad=True
            )
        )
        self.assertTrue(torch.autograd.gradgradcheck(lambda t: sort(t) ** 3, x))
        x = x.detach()
        for transform in (
            torch.func.hessian,
            lambda function: torch.func.jacrev(torch.func.jacrev(function)),
        ):
            self.assertAllClose(
                transform(lambda t: (sort(t) ** 3).sum())(x),
                transform(lambda t: (sort_by_torch(t) ** 3).sum())(x),
                1e-12,
            )
        batched = torch.vmap(sort, in_dims=2, out_dims=1)
        stacked = torch.stack([x, -x], dim=2)
        self.assertAllClose(
            batched(stacked), torch.stack([sort(x), sort(-x)], dim=1), 0, 0
        )

    def test_equal_pairs_keep_their_places(self):
        if keras.backend.backend() == "jax":
            self.skipTest("JAX shares the gradient among equal inputs.")
        slope = gradient(
            lambda t: ops.multiply(sort_pairs(t, -1, True), [[1.0, 2.0]]),
            ops.ones((1, 2)),
        )
        self.assertAllClose(slope, [[1.0, 2.0]], 0, 0)

    def test_unknown_batch_sizes(self):
        if keras.backend.backend() != "tensorflow":
            self.skipTest("Only TensorFlow sorts by swapping.")
        import tensorflow as tf

        function = tf.function(
            lambda x: sort_pairs(x, -1, True),
            input_signature=[tf.TensorSpec([None, None, 4])],
        )
        x = self.normal(3, 2, 4)
        self.assertAllClose(function(x), sort_pairs(x, -1, True), 0, 0)
