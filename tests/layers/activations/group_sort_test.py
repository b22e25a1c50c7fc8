import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class GroupSortTest(LipschitzTestCase):
    @parameterized.parameters(
        (2, -1, (6,)),
        (3, -1, (6,)),
        (6, -1, (6,)),
        (2, -1, (3, 2, 4)),
        (4, 1, (4, 3, 2)),
        (3, -2, (2, 6, 5)),
    )
    def test_contract(self, group_size, axis, shape):
        self.run_lipschitz_layer_test(
            layers.GroupSort,
            init_kwargs={"group_size": group_size, "axis": axis},
            input_shape=shape,
            expected_output_shape=shape,
        )

    @parameterized.parameters(2, 3)
    def test_each_group_is_sorted(self, group_size):
        x = self.normal(7, 12)
        outputs = to_numpy(layers.GroupSort(group_size)(x))
        expected = np.sort(x.reshape(7, -1, group_size), axis=-1)
        self.assertAllClose(outputs, expected.reshape(7, 12), 0, 0)

    def test_image_sizes_may_be_open(self):
        model = keras.Sequential(
            [keras.Input((None, None, 4)), layers.GroupSort(4)]
        )
        x = self.normal(2, 3, 5, 4)
        outputs = model.predict(x, verbose=0)
        self.assertAllClose(outputs, np.sort(x, axis=-1), 0, 0)
        with self.assertRaisesRegex(ValueError, "of known shape"):
            model.layers[-1].to_keras_layer()

    def test_bound_is_one(self):
        self.assertEqual(layers.GroupSort(2).lipschitz_bound(), 1.0)

    def test_invalid_arguments_are_refused(self):
        for group_size in (0, 1, 1.5):
            with self.assertRaisesRegex(ValueError, "`group_size` must be"):
                layers.GroupSort(group_size)
        with self.assertRaisesRegex(ValueError, "multiple of 4.*6 channels"):
            layers.GroupSort(4)(self.normal(2, 6))
        for axis in (0, 2, -2):
            with self.assertRaisesRegex(ValueError, "`axis` of layer"):
                layers.GroupSort(2, axis=axis)(self.normal(2, 6))
