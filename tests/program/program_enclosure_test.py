import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip.certificates.execution_certifier import ExecutionCertifier
from keras_lip.models import materialize
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.program.enclose_model import enclose
from tests.program.enclose_model import norms_of


def make_dense_network(depth=3):
    stack = [keras.Input((16,))]
    for _ in range(depth):
        stack += [
            layers.OrthogonalDense(32, bias_initializer="random_normal"),
            layers.MaxMin(),
        ]
    return keras.Sequential([*stack, layers.UnitNormDense(5)])


def make_image_network(padding_mode, data_format):
    first = data_format == "channels_first"
    axis = 1 if first else -1
    image = {"padding_mode": padding_mode, "data_format": data_format}
    return keras.Sequential(
        [
            keras.Input((2, 4, 4) if first else (4, 4, 2)),
            keras.layers.Rescaling(1 / 0.3, -0.7),
            layers.RKOConv2D(4, 3, **image),
            layers.MaxMin(axis=axis),
            layers.AOLConv2D(4, 2, strides=2, **image),
            layers.GroupSort(4, axis=axis),
            layers.SLLConv2D(4, 2, **image),
            layers.InvertibleDownsampling2D(2, data_format=data_format),
            keras.layers.Flatten(data_format=data_format),
            layers.AbsoluteValue(),
            layers.ConvexPotentialDense(8),
            layers.SLLDense(8, activation="leaky_relu"),
            layers.LipschitzScale(3.0),
            layers.PadChannels(20),
            layers.FullSort(),
            layers.TruncateChannels(18),
            keras.layers.Dropout(0.5),
            layers.OrthogonalDense(6, activation="relu"),
        ]
    )


def make_branches():
    inputs = keras.Input((6, 4))
    left = keras.layers.Conv1D(4, 3, padding="same", strides=2)(inputs)
    right = keras.layers.MaxPooling1D(2)(keras.layers.ReLU()(inputs))
    joined = [
        keras.layers.Add()([left, right]),
        keras.layers.Subtract()([left, right]),
        keras.layers.Maximum()([left, right]),
        (left - right) / 3.0,
        -left * 2.0 + right,
    ]
    merged = layers.ConvexAdd()(joined[:2])
    joined.append(keras.layers.LeakyReLU(0.1)(merged))
    joined.append(layers.LipschitzConcatenate()([left, right]))
    outputs = keras.layers.Concatenate(axis=-1)(joined)
    outputs = keras.layers.Permute((2, 1))(outputs)
    outputs = keras.layers.ZeroPadding1D(1)(outputs)
    outputs = keras.layers.Cropping1D((2, 1))(outputs)
    return keras.Model(inputs, keras.layers.Reshape((-1,))(outputs))


_MODELS = {
    "dense": make_dense_network,
    "circular": lambda: make_image_network("circular", "channels_last"),
    "zeros": lambda: make_image_network("zeros", "channels_first"),
    "branches": make_branches,
}


def run_dense(model, x, order, pairwise):
    """Runs the network in float32, with sums in a given order."""
    weights = [w for w in model.layers if hasattr(w, "kernel")]
    for index, layer in enumerate(weights):
        kernel, bias = to_numpy(layer.kernel), to_numpy(layer.bias)
        turn = order.permutation(len(kernel))
        terms = list(x[:, turn, None] * kernel[turn][None])
        terms = list(np.moveaxis(np.array(terms), 1, 0))
        terms.insert(
            order.integers(len(terms)), np.broadcast_to(bias, terms[0].shape)
        )
        while len(terms) > 1:
            rest = terms[2:]
            pair = terms[0] + terms[1]
            terms = [*rest, pair] if pairwise else [pair, *rest]
        x = terms[0]
        assert x.dtype == "float32"
        if index < len(weights) - 1:
            pairs = x.reshape(len(x), -1, 2)
            x = np.stack([pairs.max(-1), pairs.min(-1)], -1).reshape(x.shape)
    return x


class ProgramEnclosureTest(LipschitzTestCase):
    @parameterized.parameters(*_MODELS)
    def test_executions_are_within_their_bounds(self, name):
        model = _MODELS[name]()
        x = self.normal(5, *model.input_shape[1:])
        single = enclose(model, x)
        double = enclose(model, x, "float64")
        executed = to_numpy(materialize(model)(x))
        self.assertEqual(single.value.shape, executed.shape)
        # In float32, and not only because nothing is bounded.
        off = norms_of(single.value - executed)
        allowed = single.center + single.error[0]
        self.assertTrue((off <= allowed).all())
        self.assertTrue((allowed <= 1e4 * off.max()).all())
        # In float64, where a constant of no float32 still counts as rounded.
        logits = freeze(materialize(model)).run
        off = norms_of(double.value - logits(x))
        self.assertTrue((off <= double.center + double.error[0]).all())
        self.assertTrue((double.center < 1e-8 * single.error[0]).all())
        self.assertTrue((double.error[0] < 0.9 * single.error[0]).all())
        # The real function moves no faster than it drifts.
        step = self.normal(*x.shape).astype("float64")
        size = norms_of(step)
        moved = norms_of(logits(x + step) - logits(x))
        self.assertTrue((single.drift[0] < 1e-300).all())
        self.assertTrue((moved <= single.drift[1] * size + 1e-5).all())

    def test_no_order_of_summation_breaks_the_bounds(self):
        model = make_dense_network()
        logits = freeze(model).run
        x = self.normal(20, 16)
        outputs = enclose(model, x)
        worst = 0.0
        for epsilon in (0.0, 1.0, 30.0):
            step = self.normal(*x.shape)
            step *= epsilon / norms_of(step)[:, None]
            near = (x + step).astype("float32")
            # The rounded step may be a little longer.
            length = norms_of(near.astype("float64") - x)
            exact = logits(near)
            allowed = outputs.error[0] + outputs.error[1] * length
            for pairwise in (False, True) * 4:
                executed = run_dense(model, near, self.rng, pairwise)
                off = norms_of(executed - exact)
                self.assertTrue((off + 1e-12 <= allowed).all())
                worst = max(worst, np.max(off / allowed))
        # The actual errors are random, the bound is the worst case.
        self.assertGreater(worst, 1e-3)

    def test_errors_pass_through_a_block_by_the_bound_of_the_whole(self):
        # Twelve blocks of a part-by-part constant of three would be 5e5.
        model = keras.Sequential(
            [keras.Input((8,))] + [layers.SLLDense(8) for _ in range(12)]
        )
        outputs = enclose(model, self.normal(2, 8))
        self.assertTrue((outputs.drift[1] < 1.001).all())
        self.assertTrue((outputs.error[0] < 1e-3).all())

    def test_roundings_inside_of_a_block_grow_with_the_distance(self):
        # At zero nothing is rounded, a distance away what is there.
        model = keras.Sequential(
            [keras.Input((8,)), layers.SLLDense(8, activation="linear")]
        )
        outputs = enclose(model, np.zeros((1, 8)))
        self.assertLess(outputs.error[0, 0], 1e-30)
        # Twice a product of eight, with the moduli of an orthogonal matrix.
        self.assertGreater(outputs.error[1, 0], 20 * 2.0**-24)

    def test_what_happens_inside_of_a_block_counts_outside(self):
        layer = layers.SLLDense(8)
        model = keras.Sequential([keras.Input((8,)), layer])
        outputs = enclose(model, np.ones((1, 8)))
        self.assertBetween(outputs.center[0], 1e-17, 1e-13)
        self.assertGreater(outputs.limit[0], 1e30)
        # Half of the range of float32, among the hidden units alone.
        layer.bias.assign(np.full(8, 1.5e38))
        outputs = enclose(model, np.ones((1, 8)))
        self.assertLess(outputs.limit[0], 0.0)

    def test_nested_model_is_one_with_its_layers(self):
        inner = keras.Sequential([keras.Input((4,)), layers.OrthogonalDense(4)])
        outer = keras.Sequential([keras.Input((4,)), inner, layers.MaxMin()])
        flat = keras.Sequential(
            [keras.Input((4,)), inner.layers[0], layers.MaxMin()]
        )
        x = self.normal(3, 4)
        nested, plain = (enclose(each, x) for each in (outer, flat))
        self.assertAllClose(nested.value, plain.value, atol=0, rtol=0)
        self.assertAllClose(nested.error, plain.error, atol=0, rtol=0)

    def test_input_that_float32_cannot_hold_counts_as_rounded(self):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
        outputs = enclose(model, np.array([[1 / 3]]))
        self.assertEqual(outputs.value[0, 0], 1 / 3)
        off = abs(float(np.float32(1 / 3)) - 1 / 3)
        self.assertGreaterEqual(outputs.error[0, 0], off)
        self.assertLess(outputs.error[0, 0], 4 * off)

    def test_call_with_arguments_is_refused(self):
        inputs = keras.Input((4,))
        outputs = keras.layers.Dropout(0.5, name="drop")(inputs, training=True)
        model = keras.Model(inputs, outputs)
        with self.assertRaisesRegex(ValueError, "'drop'.*with `training="):
            enclose(model, self.normal(1, 4))

    @parameterized.parameters(
        (
            lambda: keras.layers.Dense(2, "tanh", name="bad"),
            "`tanh` is unknown",
        ),
        (lambda: keras.layers.ELU(name="bad"), "its exponential is unknown"),
        (
            lambda: keras.layers.Softmax(name="bad"),
            "its exponential is unknown",
        ),
        (
            lambda: keras.layers.TimeDistributed(
                keras.layers.Dense(2, "tanh", name="bad")
            ),
            "`tanh` is unknown",
        ),
        (
            lambda: keras.layers.Dense(2, dtype="bfloat16", name="bad"),
            "bfloat16",
        ),
        (
            lambda: layers.MaxMin(dtype="mixed_bfloat16", name="bad"),
            "computes in bfloat16",
        ),
    )
    def test_layer_is_refused_by_name(self, make, why):
        model = keras.Sequential([keras.Input((4, 2)), make()])
        message = f"semantics='float32' is not supported for layer 'bad'.*{why}"
        with self.assertRaisesRegex(ValueError, message):
            ExecutionCertifier(freeze(model), "float32")(self.normal(1, 4, 2))

    def test_subclass_may_compute_anything(self):
        layer = _OwnDense(2, name="bad")
        model = keras.Sequential([keras.Input((4, 2)), layer])
        with self.assertRaisesRegex(ValueError, "for layer 'bad' of type"):
            enclose(model, self.normal(1, 4, 2))

    def test_lora_weights_are_part_of_the_kernel(self):
        layer = keras.layers.Dense(2)
        model = keras.Sequential([keras.Input((4,)), layer])
        layer.enable_lora(1)
        layer.lora_kernel_b.assign(self.normal(1, 2))
        x = self.normal(5, 4)
        outputs = enclose(model, x)
        for executed in model(x), materialize(model)(x):
            off = norms_of(outputs.value - to_numpy(executed))
            self.assertTrue((off <= outputs.error[0]).all())

    def test_quantized_layer_is_refused(self):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        model.layers[0].quantize("int8")
        with self.assertRaisesRegex(ValueError, "quantized"):
            enclose(model, self.normal(1, 4))

    def test_operation_that_is_not_known_is_refused(self):
        inputs = keras.Input((4,))
        model = keras.Model(inputs, ops.exp(inputs))
        with self.assertRaisesRegex(ValueError, "of type `Exp`"):
            enclose(model, self.normal(1, 4))


class _OwnDense(keras.layers.Dense):
    """A subclass may compute anything."""
