import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import models
from keras_lip.linalg import start_vector
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def make_stack(filters):
    block = layers.ConvexPotentialConv2D(filters, 3)
    return layers.LayerStack(block, depth=2)


def make_flow(filters):
    return layers.SkewFlowConv2D(filters, 3, flow="exponential")


def make_expansion(filters):
    blocks = [layers.ConvexPotentialConv2D(filters, 1) for _ in range(2)]
    return layers.ConvexPotentialExpansion(blocks)


def make_ossn(filters):
    return layers.OSSNConv2D(filters, 3)


def make_svcm(filters):
    return layers.SVCMConv2D(filters, 3, strides=2)


MAKERS = (make_ossn, make_svcm, make_stack, make_flow, make_expansion)


def make_model(make, side, filters=2):
    return models.LipschitzSequential(
        [keras.Input((side, side, 2)), make(filters)]
    )


def is_vector(weight):
    return weight.name.endswith("power_iteration_vector")


class ImageSizeTest(LipschitzTestCase):
    def save(self, make, name="model.weights.h5"):
        model = make_model(make, 32)
        values = [self.normal(*weight.shape) for weight in model.weights]
        model.set_weights(values)
        path = self.temporary_path(name)
        save = model.save if name == "model.keras" else model.save_weights
        save(path)
        return model, path

    @parameterized.parameters(*MAKERS)
    def test_weights_load_at_another_image_size(self, make):
        saved, path = self.save(make)
        model = make_model(make, 34)
        # What a vector was before does not matter.
        model.set_weights([weight + 1 for weight in model.get_weights()])
        model.load_weights(path)
        for weight, old in zip(model.weights, saved.weights, strict=True):
            expected = to_numpy(old)
            if is_vector(weight):
                self.assertNotEqual(weight.shape, old.shape)
                expected = start_vector(weight.shape)
            np.testing.assert_array_equal(to_numpy(weight), expected)
        self.assertTrue(any(map(is_vector, model.weights)))

    @parameterized.parameters(*MAKERS)
    def test_states_load_at_the_same_image_size(self, make):
        saved, path = self.save(make)
        model = make_model(make, 32)
        model.load_weights(path)
        for actual, desired in zip(
            model.get_weights(), saved.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(actual, desired)

    def test_whole_models_give_weights_to_another_image_size(self):
        saved, path = self.save(make_ossn, "model.keras")
        model = make_model(make_ossn, 34)
        model.load_weights(path)
        self.assertAllClose(
            model.layers[0].free_kernel, saved.layers[0].free_kernel, 0, 0
        )

    @parameterized.parameters(*MAKERS)
    def test_kernels_of_another_shape_are_refused(self, make):
        _, path = self.save(make)
        with self.assertRaisesRegex(ValueError, "could not be loaded|shape"):
            make_model(make, 34, filters=4).load_weights(path)

    def test_vectors_of_the_same_shape_start_alike(self):
        first, second = (make_model(make_ossn, 8).layers[0] for _ in range(2))
        np.testing.assert_array_equal(
            to_numpy(first.state["power_iteration_vector"]),
            to_numpy(second.state["power_iteration_vector"]),
        )
