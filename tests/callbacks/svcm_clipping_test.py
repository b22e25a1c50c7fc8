import keras
import numpy as np

from keras_lip import callbacks
from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class SVCMClippingTest(LipschitzTestCase):
    def make_model(self):
        conv = layers.SVCMConv2D(2, 4, use_bias=False)
        network = [keras.Input((4, 4, 2)), conv, keras.layers.Flatten()]
        model = models.LipschitzSequential(network)
        # Steps that leave the kernel where it is.
        model.compile(keras.optimizers.SGD(0.0), "mse")
        conv.free_kernel.assign(self.normal(4, 4, 2, 2))
        return model, conv

    def norm(self, conv):
        kernel = conv.free_kernel.value
        matrix = conv._operator.as_matrix(kernel, (4, 4, 2))
        return self.singular_values(matrix).max()

    def test_kernels_are_clipped_each_n_steps(self):
        model, conv = self.make_model()
        x, y = self.normal(3, 4, 4, 2), np.zeros((3, 32), "float32")
        norms = []

        class Watch(keras.callbacks.Callback):
            def on_train_batch_end(callback, batch, logs=None):
                if hasattr(model, "jax_state_sync"):
                    model.jax_state_sync()
                norms.append(self.norm(conv))

        clipping = callbacks.SVCMClipping(every_n_steps=2)
        model.fit(x, y, 1, callbacks=[clipping, Watch()], verbose=0)
        # The window is as large as the image: one round clips exactly.
        self.assertGreater(norms[0], 2)
        self.assertAllClose(norms[1:], [1.0, 1.0], 1e-5)

    def test_kernels_are_clipped_at_the_end(self):
        model, conv = self.make_model()
        x, y = self.normal(3, 4, 4, 2), np.zeros((3, 32), "float32")
        clipping = callbacks.SVCMClipping(every_n_steps=100)
        model.fit(x, y, 1, callbacks=[clipping], verbose=0)
        self.assertAllClose(self.norm(conv), 1.0, 1e-5)

    def test_what_a_step_learns_is_kept(self):
        model, conv = self.make_model()
        model.compile(keras.optimizers.SGD(1.0), "mse")
        x, y = self.normal(3, 4, 4, 2), self.normal(3, 32)
        clipping = callbacks.SVCMClipping(every_n_steps=1)
        model.fit(x, y, 1, callbacks=[clipping], verbose=0)
        first = to_numpy(conv.free_kernel).copy()
        model.fit(x, y, 1, callbacks=[clipping], verbose=0)
        self.assertGreater(
            np.abs(to_numpy(conv.free_kernel) - first).max(), 0.01
        )

    def test_frozen_layers_are_not_clipped(self):
        _, frozen = self.make_model()
        _, inner = self.make_model()
        _, free = self.make_model()
        model = keras.Sequential(
            [keras.Input((4, 4, 2)), frozen, keras.Sequential([inner]), free]
        )
        frozen.trainable = False
        model.layers[1].trainable = False
        # A frozen model counts, whatever its layers say.
        inner.trainable = True
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x = self.normal(1, 4, 4, 2)
        before = [self.norm(conv) for conv in (frozen, inner)]
        clipping = callbacks.SVCMClipping(every_n_steps=1)
        model.fit(x, x, callbacks=[clipping], verbose=0)
        self.assertEqual([self.norm(conv) for conv in (frozen, inner)], before)
        self.assertGreater(min(before), 2)
        self.assertAllClose(self.norm(free), 1.0, 1e-5)

    def test_model_that_is_all_frozen_is_left_alone(self):
        conv = layers.SVCMConv2D(2, 4)
        head = keras.layers.GlobalAveragePooling2D()
        model = keras.Sequential([keras.Input((4, 4, 2)), conv, head])
        model.add(keras.layers.Dense(1))
        conv.trainable = False
        conv.free_kernel.assign(10 * conv.free_kernel)
        before = self.norm(conv)
        model.compile("sgd", "mse")
        x = np.zeros((2, 4, 4, 2))
        model.fit(
            x, x[:, 0, 0, :1], callbacks=[callbacks.SVCMClipping(1)], verbose=0
        )
        self.assertEqual(self.norm(conv), before)

    def test_models_without_such_a_layer_are_refused(self):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        with self.assertRaisesRegex(ValueError, "has no `SVCMConv2D`"):
            model.fit(
                np.ones((2, 2)),
                np.ones((2, 1)),
                callbacks=[callbacks.SVCMClipping()],
                verbose=0,
            )

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "`every_n_steps` must be"):
            callbacks.SVCMClipping(0)
        with self.assertRaisesRegex(ValueError, "`rounds` must be"):
            callbacks.SVCMClipping(rounds=0)
