from absl.testing import parameterized

from keras_lip.applications import LargeConvNet
from tests.applications.application_test_case import ApplicationTestCase


class LargeConvNetTest(ApplicationTestCase):
    @parameterized.parameters(
        ((28, 28, 1), 1_974_762), ((32, 32, 3), 2_466_858)
    )
    def test_parameters_are_those_of_wong_et_al(self, input_shape, expected):
        self.assertEqual(
            self.count_parameters(LargeConvNet, input_shape, convolution="rko"),
            expected,
        )

    def test_parameters_of_kwlarge(self):
        # Convolutions of 3 x 3, and on blocks of two by two pixels of 1 x 1.
        expected = 9 * 3 * 32 + 32 + 128 * 32 + 32
        expected += 9 * 32 * 64 + 64 + 256 * 64 + 64
        expected += 4096 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10
        count = self.count_parameters(
            LargeConvNet, convolution="cayley", block_kernel_size=1
        )
        self.assertEqual(count, expected)

    def test_the_network_is_bounded_by_one(self):
        model = LargeConvNet((8, 16, 3), 2, "aol", width=2, units=4)
        self.run_application_test(model, 1 + 1e-4)

    def test_the_layers_are_those_of_wong_et_al(self):
        model = LargeConvNet((8, 16, 3), 2, width=2, units=4)
        shapes = [tuple(layer.output.shape[1:]) for layer in model.layers]
        kinds = [type(layer).__name__ for layer in model.layers]
        self.assertEqual(
            [
                shape
                for shape, kind in zip(shapes, kinds, strict=True)
                if kind != "MaxMin"
            ],
            [(8, 16, 3), (8, 16, 2), (4, 8, 8), (4, 8, 2)]
            + [(4, 8, 4), (2, 4, 16), (2, 4, 4)]
            + [(32,), (4,), (4,), (2,)],
        )
        self.assertEqual(kinds.count("MaxMin"), 6)

    def test_the_window_on_blocks_must_be_positive(self):
        with self.assertRaisesRegex(
            ValueError, "`block_kernel_size` must be a positive integer"
        ):
            LargeConvNet(block_kernel_size=0)
