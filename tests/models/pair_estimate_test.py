import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.models.pair_estimate import PairEstimate
from keras_lip.program import freeze
from keras_lip.program.nodes.affine import Affine
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def proven_pairs(model):
    program = freeze(model)
    return bound_pairs(program, program.bounds("l2")).matrix


@keras.saving.register_keras_serializable(package="tests")
class Thrice(layers.LipschitzLayer):
    """A layer of another bound than one, which says what it is."""

    def call(self, inputs):
        return 3.0 * inputs

    def freeze(self, *inputs):
        return inputs[0].then(Affine(np.asarray(3.0), np.zeros(())))


class PairEstimateTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x = self.normal(32, 6)
        self.y = self.rng.integers(0, 3, 32)

    def make_trunk(self):
        return [
            keras.layers.Rescaling(2.0),
            layers.LipschitzResidualDense(6, scale=0.5),
            layers.MaxMin(),
            layers.LipschitzScale(-0.5),
            layers.OrthogonalDense(5),
        ]

    def make_model(self, head=None, loss=None, **kwargs):
        model = models.LipschitzSequential(
            [
                keras.Input((6,)),
                *self.make_trunk(),
                head or layers.UnitNormDense(3),
            ]
        )
        for weight in model.trainable_weights:
            weight.assign(self.normal(*weight.shape))
        model.compile(
            keras.optimizers.SGD(0.1), loss or losses.EMMA(0.1), **kwargs
        )
        return model

    def check(self, model, delta=1e-3):
        """The estimate, once it has moved, is what is proven."""
        estimate = PairEstimate(model)
        for _ in range(10):
            estimate.compute(training=True)
        found = to_numpy(estimate.compute(training=False))
        proven = proven_pairs(model)
        off = ~np.eye(len(found), dtype=bool)
        self.assertAllClose(found[off], proven[off], delta, delta)
        self.assertAllClose(np.diag(found), np.zeros(len(found)), 0, 0)

    @parameterized.parameters(
        lambda: layers.UnitNormDense(3),
        lambda: layers.LipschitzResidualDense(3),
        lambda: keras.layers.Dense(3),
        lambda: keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]),
        # No linear one.
        lambda: keras.Sequential(
            [keras.Input((5,)), layers.OrthogonalDense(3), layers.FullSort()]
        ),
        lambda: layers.OrthogonalDense(3, activation="gelu"),
    )
    def test_constants_are_those_that_are_proven(self, make_head):
        self.check(self.make_model(make_head()))

    def test_images_and_branches(self):
        inputs = keras.Input((6, 6, 2))
        x = layers.FreeConv2D(4, 3, strides=2, padding_mode="zeros")(inputs)
        x = layers.MaxMin()(x)
        one = layers.LipschitzResidualConv2D(4, 1, scale=0.5)(x)
        other = layers.BCOPConv2D(4, 3)(x)
        x = keras.layers.Add()([one, other, other])
        x = keras.layers.Concatenate()([x, one])
        x = layers.ConvexAdd()([x, x])
        x = ops.reshape(x - 0.5, (-1, 72))
        outputs = layers.UnitNormDense(3)(x)
        model = models.LipschitzModel(inputs, outputs)
        for weight in model.trainable_weights:
            weight.assign(self.normal(*weight.shape, scale=0.3))
        estimate = PairEstimate(model)
        for _ in range(20):
            estimate.compute(training=True)
        found = to_numpy(estimate.compute(training=False))
        proven = proven_pairs(model)
        # It knows of no parts of one tensor, and proofs are of large images.
        off = ~np.eye(3, dtype=bool)
        ratio = found[off] / proven[off]
        self.assertBetween(ratio.min(), 0.8, 1.3)
        self.assertBetween(ratio.max(), 0.8, 1.3)

    def test_stack_is_the_product_of_its_blocks(self):
        blocks = [layers.LipschitzResidualDense(4, scale=0.5), layers.MaxMin()]
        stack = layers.LayerStack(blocks, 3)
        orthogonal = layers.LayerStack(layers.OrthogonalDense(4), 3)
        model = models.LipschitzSequential(
            [keras.Input((4,)), stack, orthogonal, layers.UnitNormDense(3)]
        )
        for weight in stack.trainable_weights:
            weight.assign(self.normal(*weight.shape))
        self.assertEqual(orthogonal._estimate_bound(training=True), 1.0)
        states = [to_numpy(w).copy() for w in stack.non_trainable_weights]
        stack._estimate_bound(training=False)
        self.assertAllClose(stack.non_trainable_weights[0], states[0], 0, 0)
        self.check(model)
        moved = to_numpy(stack.non_trainable_weights[0])
        self.assertTrue((np.abs(moved - states[0]).max(axis=(1, 2)) > 0).all())

    def test_stack_counts_layers_of_keras(self):
        blocks = [layers.LipschitzResidualDense(4), keras.layers.Rescaling(0.5)]
        model = models.LipschitzSequential(
            [
                keras.Input((4,)),
                layers.LayerStack(blocks, 2),
                layers.UnitNormDense(3),
            ]
        )
        for weight in model.layers[0].trainable_weights:
            weight.assign(self.normal(*weight.shape))
        self.check(model)
        loose = layers.LayerStack(keras.layers.Dense(4), 2)
        model = models.LipschitzSequential(
            [keras.Input((4,)), loose, layers.UnitNormDense(3)]
        )
        model.compile("sgd", losses.EMMA(0.1))
        with self.assertRaisesRegex(ValueError, "of a block has weights"):
            model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)

    def test_a_layer_of_ones_own_is_bounded(self):
        model = models.LipschitzSequential(
            [keras.Input((4,)), Thrice(), layers.UnitNormDense(3)]
        )
        self.check(model)

    def test_loss_of_a_step_is_that_of_the_constants(self):
        for kwargs in ({"run_eagerly": True}, {}):
            loss = losses.EMMA(0.3)
            model = self.make_model(loss=loss, **kwargs)
            estimate = PairEstimate(model)
            for _ in range(10):
                estimate.compute(training=True)
            with loss.using_constants(estimate.compute(training=False)):
                expected = float(to_numpy(loss(self.y, model(self.x))))
            found = model.evaluate(self.x, self.y, verbose=0, batch_size=32)
            self.assertAllClose(found, expected, 1e-5, 1e-5)
            history = model.fit(
                self.x, self.y, batch_size=32, shuffle=False, verbose=0
            )
            self.assertAllClose(history.history["loss"], [expected], 1e-4, 1e-4)

    def test_trunk_is_trained_through_its_constant(self):
        # With logits of no gradient, the constant alone moves the trunk.
        model = self.make_model(loss=losses.EMMA(5.0))
        head = model.layers[-1]
        before = proven_pairs(model)[0, 1]
        kernels = to_numpy(head.kernel)
        model.layers[-2].trainable = False
        head.trainable = False
        model.compile(keras.optimizers.SGD(0.05), losses.EMMA(5.0))
        model.fit(np.zeros((32, 6)), self.y, epochs=30, verbose=0)
        self.assertAllClose(head.kernel, kernels, 0, 0)
        self.assertLess(proven_pairs(model)[0, 1], 0.9 * before)

    def test_metrics_follow_the_estimate_in_training(self):
        metric = metrics.CertifiedAccuracy(0.1)
        model = self.make_model(metrics=[metric])
        # Of a trunk that does not stay what it was at the start.
        model.layers[1].free_kernel.assign(4 * self.normal(6, 6))
        before = proven_pairs(model)
        seen = []

        def look(*_):
            (found,) = (v for v in metric.variables if v.name == "pair_bounds")
            seen.append(to_numpy(found).copy())

        callback = keras.callbacks.LambdaCallback(
            on_epoch_end=look, on_test_end=look
        )
        options = {"batch_size": 32, "callbacks": [callback], "verbose": 0}
        model.optimizer.learning_rate = 1.0
        model.fit(self.x, self.y, epochs=4, **options)
        found = seen[-1]
        # Of the weights before the last step.
        self.assertGreater(np.abs(found / before - 1)[0, 1], 0.01)
        model.optimizer.learning_rate = 0.0
        model.fit(self.x, self.y, epochs=4, **options)
        off = ~np.eye(3, dtype=bool)
        expected = proven_pairs(model)[off]
        self.assertAllClose(seen[-1][off], expected, 1e-2, 1e-2)
        # An evaluation proves them.
        model.evaluate(self.x, self.y, **options)
        self.assertTrue((seen[-1][off] >= expected).all())

    def test_states_move_in_training_alone(self):
        model = self.make_model()
        state = model.layers[1].power_iteration_vector
        start = to_numpy(state).copy()
        model.evaluate(self.x, self.y, verbose=0)
        self.assertAllClose(state, start, 0, 0)
        model.fit(self.x, self.y, verbose=0)
        self.assertGreater(np.abs(to_numpy(state) - start).max(), 0)

    def test_another_loss_moves_no_state(self):
        model = self.make_model(loss=losses.MulticlassHinge())
        state = model.layers[1].power_iteration_vector
        start = to_numpy(state).copy()
        model.fit(self.x, self.y, verbose=0)
        self.assertAllClose(state, start, 0, 0)

    def test_epsilon_is_read_by_compiled_steps(self):
        loss = losses.EMMA(0.0)
        model = self.make_model(loss=loss)
        first = model.evaluate(self.x, self.y, verbose=0)
        loss.epsilon = 0.5
        second = model.evaluate(self.x, self.y, verbose=0)
        self.assertGreater(second, first + 1e-3)
        loss.epsilon = 0.0
        third = model.evaluate(self.x, self.y, verbose=0)
        self.assertAllClose(third, first)

    def test_weights_are_not_the_losses(self):
        model = self.make_model()
        names = [weight.name for weight in model.weights]
        self.assertNotIn("emma_epsilon", names)
        self.assertLen(
            [v for v in model.metrics_variables if v.name == "emma_epsilon"], 1
        )

    def test_saved_model_trains_on(self):
        model = self.make_model(loss=losses.LogitAnnealing(0.2))
        model.fit(self.x, self.y, verbose=0)
        model.loss.epsilon = 0.4
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(loaded.loss.epsilon, 0.4)
        self.assertAllClose(
            loaded.evaluate(self.x, self.y, verbose=0),
            model.evaluate(self.x, self.y, verbose=0),
            1e-5,
            1e-5,
        )
        loaded.fit(self.x, self.y, verbose=0)

    def test_names_are_known(self):
        for name in ("emma", "gloro", "logit_annealing"):
            model = self.make_model(loss=name)
            model.fit(self.x, self.y, verbose=0)

    def test_a_given_bound_is_used_and_no_estimate(self):
        loss = losses.EMMA(0.3, lipschitz_bound=2.0)
        model = self.make_model(loss=loss)
        self.assertEqual(model._certifying.estimates, [])
        found = model.evaluate(self.x, self.y, verbose=0)
        self.assertAllClose(found, loss(self.y, model(self.x)), 1e-5, 1e-5)

    def test_outputs_have_constants_of_their_own(self):
        inputs = keras.Input((6,))
        x = layers.LipschitzResidualDense(6, scale=0.5)(inputs)
        wide = layers.UnitNormDense(3, name="wide")(x)
        narrow = layers.UnitNormDense(3, name="narrow")(
            layers.LipschitzScale(0.01)(x)
        )
        model = models.LipschitzModel(inputs, {"a": wide, "b": narrow})
        given = {"a": losses.EMMA(0.1), "b": losses.EMMA(0.1)}
        model.compile("sgd", given)
        pairs = {
            id(loss): to_numpy(estimate.compute(False))
            for loss, estimate in model._certifying.estimates
        }
        one, other = (pairs[id(given[name])] for name in ("a", "b"))
        self.assertGreater(one.max(), 10 * other.max())
        model.fit(self.x, {"a": self.y, "b": self.y}, verbose=0)
        with self.assertRaisesRegex(ValueError, "constants of one output"):
            model.compile("sgd", losses.EMMA(0.1))

    def test_subclassed_model_is_looked_at_when_it_is_built(self):
        class Net(models.LipschitzModel):
            def __init__(self):
                super().__init__()
                self.first = layers.LipschitzResidualDense(6)
                self.last = layers.UnitNormDense(3)

            def call(self, inputs):
                return self.last(self.first(inputs))

        model = Net()
        model.compile("sgd", losses.EMMA(0.1))
        model.fit(self.x, self.y, verbose=0)
        start = to_numpy(model.first.power_iteration_vector).copy()
        model.fit(self.x, self.y, verbose=0)
        moved = to_numpy(model.first.power_iteration_vector)
        self.assertGreater(np.abs(moved - start).max(), 0)

    def test_what_is_trained_and_not_estimated_is_refused(self):
        model = models.LipschitzSequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(6, name="loose"),
                layers.UnitNormDense(3),
            ]
        )
        with self.assertRaisesRegex(
            ValueError, "Layer 'loose' of type `Dense` is trained, but its norm"
        ):
            model.compile("sgd", losses.EMMA(0.1))
        model.layers[0].trainable = False
        model.compile("sgd", losses.EMMA(0.1))
        self.check(model)

    def test_other_outputs_are_refused(self):
        model = models.LipschitzSequential(
            [keras.Input((6,)), layers.OrthogonalDense(1)]
        )
        with self.assertRaisesRegex(ValueError, "at least two classes"):
            model.compile("sgd", losses.EMMA(0.1))
        model = models.LipschitzSequential(
            [keras.Input((6,)), layers.LinfDense(3)]
        )
        with self.assertRaisesRegex(ValueError, "in the l2 norm"):
            model.compile("sgd", losses.EMMA(0.1))
        model = models.LipschitzSequential(
            [keras.Input((6,)), layers.CurvatureHead(3, 4)]
        )
        model.compile("sgd", losses.EMMA(0.1))
        with self.assertRaisesRegex(ValueError, "CurvatureCrossentropy"):
            model.fit(self.x, self.y, verbose=0)
