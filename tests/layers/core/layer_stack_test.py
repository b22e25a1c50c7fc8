import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import bounds
from keras_lip import certificates
from keras_lip import layers
from keras_lip import models
from keras_lip.program import freeze
from keras_lip.regularizers import Parseval
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

DEPTH = 3


def make_model(block, input_shape, depth=DEPTH):
    stack = layers.LayerStack(block, depth)
    return models.LipschitzSequential([keras.Input(input_shape), stack])


def write_out(stack):
    """Returns layers of their own for all blocks of a stack."""
    written = []
    for block in stack.blocks():
        for layer in block.layers:
            config = {**layer.get_config(), "name": None}
            copy = type(layer).from_config(config)
            copy.build(layer.input.shape)
            copy.set_weights(layer.get_weights())
            written.append(copy)
    return written


class LayerStackTest(LipschitzTestCase):
    @parameterized.named_parameters(
        ("a_layer", layers.ConvexPotentialDense(6), (5,), 1.0),
        (
            "layers",
            [
                layers.OrthogonalDense(4, use_bias=False),
                layers.MaxMin(),
            ],
            (4,),
            1.0,
        ),
        ("fixed_steps", layers.ConvexPotentialDense(3, step=0.3), (4,), None),
        ("images", layers.SLLConv2D(2, 3, padding_mode="zeros"), (4, 4, 2), 1),
    )
    def test_contract(self, block, input_shape, expected_bound):
        self.run_lipschitz_layer_test(
            layers.LayerStack,
            init_kwargs={"layers": block, "depth": DEPTH},
            input_shape=input_shape,
            expected_output_shape=input_shape,
            expected_bound=expected_bound,
        )

    @parameterized.named_parameters(
        (
            "images",
            layers.SLLConv2D(
                3, 3, kernel_regularizer="l2", bias_initializer="random_normal"
            ),
            (5, 4, 2),
        ),
        (
            "orthogonal",
            [layers.OrthogonalDense(4, kernel_regularizer=Parseval(0.1))],
            (4,),
        ),
        (
            "two_layers",
            [
                layers.ConvexPotentialDense(3),
                keras.layers.Dense(
                    4, kernel_constraint=keras.constraints.MaxNorm(0.5, axis=0)
                ),
            ],
            (4,),
        ),
    )
    def test_trains_as_its_layers_written_out(self, block, input_shape):
        model = make_model(block, input_shape)
        written = models.LipschitzSequential(
            [keras.Input(input_shape), *write_out(model.layers[0])]
        )
        x = self.normal(6, *input_shape)
        y = self.normal(6, *input_shape)
        self.assertAllClose(model(x), written(x), 1e-5)
        losses = []
        for each in (model, written):
            each.compile(keras.optimizers.SGD(0.05), "mse")
            losses.append([each.train_on_batch(x, y) for _ in range(4)])
        self.assertAllClose(losses[0], losses[1], 1e-5, 1e-4)
        self.assertGreater(abs(losses[0][-1] - losses[0][0]), 1e-3)
        # The states have moved alike, too.
        new = keras.Sequential(
            [keras.Input(input_shape), *write_out(model.layers[0])]
        )
        for old, weight in zip(written.weights, new.weights, strict=True):
            self.assertAllClose(weight, old, 1e-5, 1e-4)
        self.assertAllClose(model(x), written(x), 1e-5, 1e-4)
        self.assertAllClose(
            bounds.lipschitz_bound(model),
            bounds.lipschitz_bound(written),
            1e-4,
        )

    def test_bound_is_the_product_in_every_norm_of_the_block(self):
        block = [keras.layers.Dense(2), layers.LipschitzScale(-2.0)]
        stack = layers.LayerStack(block, depth=5)
        stack.build((None, 2))
        stack._assign_blocks([np.eye(2), np.zeros(2)] for _ in range(5))
        self.assertAllClose(stack.lipschitz_bound(), 32.0, 0, 1e-9)
        self.assertEqual(stack.norms, ("l2", "linf"))
        self.assertEqual(
            layers.LayerStack(layers.LinfDense(3), 2).norms, ("linf",)
        )
        model = make_model(keras.layers.Dense(2, use_bias=False), (2,), 2)
        self.assertEqual(model.layers[0].norms, ("l2", "linf"))
        # Of norm sqrt(2) and 3 in l2, and 2 and 3 in linf.
        kernels = [np.array([[1.0, 0.0], [1.0, 0.0]]), np.diag([3.0, 0.0])]
        model.layers[0]._assign_blocks([kernel] for kernel in kernels)
        self.assertAllClose(
            bounds.lipschitz_bound(model, "l2"), 3 * 2**0.5, 1e-9
        )
        self.assertAllClose(bounds.lipschitz_bound(model, "linf"), 6.0, 1e-9)
        self.assertAllClose(model.layers[0].lipschitz_bound(), 6.0, 1e-9)
        self.assertAllClose(model(np.eye(2)), kernels[0] @ kernels[1])

    @parameterized.parameters(*range(DEPTH))
    def test_bound_sees_the_step_that_is_too_long(self, index):
        model = make_model(layers.ConvexPotentialDense(2, step=2.0), (2,))
        steps = np.full(DEPTH, 0.5)
        # Twice what the kernel allows.
        steps[index] = 1.0
        model.layers[0]._assign_blocks(
            [2 * np.eye(2), np.zeros(2), step] for step in steps
        )
        self.assertAllClose(bounds.lipschitz_bound(model), 3.0, 1e-9)
        # Where units are active, the blocks turn inputs round.
        x = np.array([[1.0, 0.0]])
        self.assertAllClose(model(x), [[-3.0 if index == 0 else -1.0, 0.0]])

    def test_a_weight_that_is_not_finite_bounds_nothing(self):
        model = make_model(layers.ConvexPotentialDense(2), (2,))
        kernel = to_numpy(model.weights[0]).copy()
        kernel[-1, 0, 0] = np.inf
        model.weights[0].assign(kernel)
        self.assertEqual(bounds.lipschitz_bound(model), np.inf)

    def test_blocks_start_apart_and_states_move_in_training_alone(self):
        stack = layers.LayerStack(layers.ConvexPotentialDense(3), DEPTH)
        model = models.LipschitzSequential(
            [keras.Input((4,)), stack, layers.OrthogonalDense(4)]
        )
        kernel, _, vector = stack.weights
        self.assertLen(np.unique(to_numpy(kernel)), np.prod(kernel.shape))
        start = to_numpy(vector).copy()
        x = self.normal(8, 4)
        model.compile("sgd", "mse")
        model.predict(x, verbose=0)
        model.evaluate(x, x, verbose=0)
        self.assertAllClose(vector, start, 0, 0)
        model.fit(x, x, verbose=0)
        moved = to_numpy(vector).copy()
        self.assertGreater(np.abs(moved - start).max(axis=(1, 2)).min(), 1e-3)
        stack.trainable = False
        model.compile("sgd", "mse")
        model.fit(x, x, verbose=0)
        self.assertAllClose(vector, moved, 0, 0)

    def test_compiled_by_xla_it_trains_the_same(self):
        if keras.backend.backend() == "torch":
            self.skipTest("PyTorch has no XLA.")
        block = layers.ConvexPotentialDense(3)
        model = make_model(block, (4,))
        weights = model.get_weights()
        x = self.normal(8, 4)
        losses = []
        for jit_compile in (False, True):
            model.set_weights(weights)
            model.compile(
                keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile
            )
            losses.append([model.train_on_batch(x, -x) for _ in range(3)])
        self.assertAllClose(*losses, 1e-5)

    def test_certificates_are_those_of_the_layers_written_out(self):
        block = layers.ConvexPotentialConv2D(2, 3, step=0.2)
        model = models.LipschitzSequential(
            [
                keras.Input((4, 4, 2)),
                layers.LayerStack(block, DEPTH),
                keras.layers.Flatten(),
                layers.UnitNormDense(3),
            ]
        )
        stack, flatten, head = model.layers
        written = models.LipschitzSequential(
            [keras.Input((4, 4, 2)), *write_out(stack), flatten, head]
        )
        x = self.normal(6, 4, 4, 2)
        for semantics in ("real", "float32"):
            radii = [
                certificates.certify(
                    each, x, np.zeros(6, int), semantics=semantics
                ).radius
                for each in (model, written)
            ]
            self.assertGreater(radii[0].max(), 0)
            self.assertAllClose(*radii, 0, 1e-9)
        row = certificates.audit(model).layers[0]
        self.assertEqual(
            row.method, certificates.audit(written).layers[0].method
        )

    def test_what_becomes_of_the_pattern_does_not_matter(self):
        block = layers.ConvexPotentialDense(3)
        model = make_model(block, (4,))
        block.activation = keras.activations.tanh
        x = self.normal(5, 4)
        self.assertAllClose(freeze(model).run(x), model(x), 1e-5)
        outputs = x
        for layer in write_out(model.layers[0]):
            outputs = layer(outputs)
        self.assertAllClose(outputs, model(x), 1e-5)

    def test_a_deep_stack_is_saved_loaded_and_materialized(self):
        block = layers.ConvexPotentialDense(2, step=0.01)
        model = make_model(block, (3,), depth=100)
        x = self.normal(2, 3)
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertAllClose(loaded(x), model(x), 0, 0)
        self.assertEqual(bounds.lipschitz_bound(loaded), 1.0)
        stock = models.materialize(loaded)
        self.assertAllClose(stock(x), model(x), 1e-4)

    def test_what_no_loop_can_run_is_refused(self):
        dense = layers.ConvexPotentialDense(2)
        with self.assertRaisesRegex(TypeError, "a layer or a list of layers"):
            layers.LayerStack([dense, "relu"], 2)
        with self.assertRaisesRegex(TypeError, "are not models"):
            layers.LayerStack(models.LipschitzSequential([dense]), 2)
        with self.assertRaisesRegex(
            ValueError, r"at least one layer. Received: layers=\[\]"
        ):
            layers.LayerStack([], 2)
        for depth in (0, 2.5, True):
            with self.assertRaisesRegex(ValueError, "`depth` must be"):
                layers.LayerStack(dense, depth)
        with self.assertRaisesRegex(ValueError, "No Lipschitz bound"):
            layers.LayerStack(keras.layers.LayerNormalization(), 2)
        message = "norm in common. Use .* `LinfDense` with a bound in linf"
        with self.assertRaisesRegex(ValueError, message):
            layers.LayerStack([dense, layers.LinfDense(2)], 2)
        half = layers.ConvexPotentialDense(2, dtype="mixed_bfloat16")
        with self.assertRaisesRegex(ValueError, "one dtype policy"):
            layers.LayerStack([dense, half], 2)
        with self.assertRaisesRegex(ValueError, r"output shape \(None, 3\)"):
            layers.LayerStack(layers.OrthogonalDense(3), 2).build((None, 4))
        with self.assertRaisesRegex(ValueError, "blocks .* have no weights"):
            layers.LayerStack(layers.LipschitzScale(2.0), 2).build((None, 4))
        with self.assertRaisesRegex(ValueError, "draws random numbers"):
            layers.LayerStack([dense, keras.layers.Dropout(0.5)], 2).build(
                (None, 4)
            )
        active = layers.MaxMin(activity_regularizer="l2")
        with self.assertRaisesRegex(ValueError, "regularizes its outputs"):
            layers.LayerStack([dense, active], 2).build((None, 4))
