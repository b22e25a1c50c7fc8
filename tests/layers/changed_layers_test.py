import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import layers
from keras_lip import parametrizations
from keras_lip.bounds import lipschitz_bound
from keras_lip.program import freeze
from tests.layers.every_layer import CASES
from tests.layers.every_layer import connect
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.marks import on_pytorch_alone


def relu(x):
    """Has the name of another function."""
    return 5 * ops.relu(x)


FUNCTIONS = (relu, keras.activations.tanh, keras.activations.exponential)
OTHERS = {
    "same": "valid",
    "valid": "same",
    "circular": "zeros",
    "zeros": "circular",
    "channels_last": "channels_first",
    "midpoint": "exponential",
    "half_lines": "point",
    "fast": "exact",
}


def other_values(value):
    """Returns other values of the kind of an argument."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [2 * value]
    if isinstance(value, float):
        return [-value]
    if isinstance(value, str):
        return [OTHERS[value]]
    if isinstance(value, tuple) and value:
        return [tuple(2 * n for n in value)]
    return FUNCTIONS if value is keras.activations.relu else []


@on_pytorch_alone
class ChangedLayersTest(LipschitzTestCase):
    def assertSameIfRead(self, model, x, what):
        """A changed layer is refused, or read as it runs."""
        try:
            program = freeze(model)
            outputs = to_numpy(model(x)).astype("float64")
        except Exception:
            return
        found = program.run(x)
        self.assertEqual(found.shape, outputs.shape, what)
        limit = 1e-3 * np.max(np.abs(outputs), initial=1.0)
        self.assertAllClose(found, outputs, atol=limit)

    def build(self, case, change=None):
        layer = case.make()
        if change is not None:
            setattr(layer, *change)
        inputs = keras.Input(case.sample)
        return layer, keras.Model(inputs, connect(case.name, layer, inputs))

    def arguments(self, layer):
        names = set(layer.get_config()) - {"name", "dtype", "trainable"}
        return sorted(names & set(vars(layer)))

    @parameterized.named_parameters((name, name) for name in CASES)
    def test_layer_is_read_as_it_runs(self, name):
        case = CASES[name]
        layer, model = self.build(case)
        x = self.normal(3, *case.sample, scale=2.0)
        for argument in self.arguments(layer):
            before = getattr(layer, argument)
            for value in other_values(before):
                if value == before:
                    continue
                what = f"{argument}={value!r}"
                try:
                    setattr(layer, argument, value)
                except ValueError:
                    self.assertIsInstance(before, int | str | tuple)
                else:
                    self.assertSameIfRead(model, x, what)
                    setattr(layer, argument, before)
                try:
                    _, changed = self.build(case, (argument, value))
                except Exception:
                    continue
                self.assertSameIfRead(changed, x, f"{what} before `build`")

    def test_argument_of_a_built_layer_is_fixed(self):
        layer = layers.FreeConv2D(1, 3, kernel_initializer="ones")
        # Until then it is not.
        layer.strides = (2, 2)
        layer.build((None, 8, 8, 1))
        layer.strides = (2, 2)
        for name, value in {
            "strides": (1, 1),
            "padding": "valid",
            "kernel_size": (5, 5),
            "use_bias": False,
        }.items():
            before = getattr(layer, name)
            with self.assertRaisesRegex(
                ValueError,
                f"`{name}` of layer .* cannot be changed.*Make a new",
            ):
                setattr(layer, name, value)
            self.assertEqual(getattr(layer, name), before)

    def test_class_of_a_parametrization_is_fixed(self):
        layer = layers.OrthogonalDense(3, parametrization="bjorck")
        layer.build((None, 3))
        for other in ("spectral", parametrizations.Spectral(), None):
            with self.assertRaisesRegex(
                ValueError, "`parametrization` of layer .* cannot be changed"
            ):
                layer.parametrization = other
        layer.free_kernel.assign(self.normal(3, 3))
        before = to_numpy(layer.kernel)
        layer.parametrization = parametrizations.Bjorck(iterations=2)
        self.assertGreater(np.abs(to_numpy(layer.kernel) - before).max(), 1e-3)

    def test_weight_of_a_built_layer_is_not_replaced(self):
        layer = layers.OrthogonalDense(3)
        layer.build((None, 3))
        kernel = layer.free_kernel
        for value in (np.ones((3, 3)), ops.ones((3, 3)), None, layer.bias):
            with self.assertRaisesRegex(
                ValueError, r"is a weight: use `layer.free_kernel.assign"
            ):
                layer.free_kernel = value
            self.assertIs(layer.free_kernel, kernel)
        layer.free_kernel = kernel

    def test_strides_changed_before_build_count(self):
        layer = layers.FreeConv2D(
            1, 3, padding_mode="zeros", kernel_initializer="ones"
        )
        layer.strides = (2, 2)
        model = keras.Sequential([keras.Input((8, 8, 1)), layer])
        self.assertEqual(to_numpy(model(np.ones((1, 8, 8, 1)))).shape[1], 4)
        self.assertEqual(freeze(model).output_shape, (4, 4, 1))

    def test_function_is_not_known_by_its_name(self):
        layer = layers.SandwichDense(2)
        model = keras.Sequential([keras.Input((2,)), layer])
        for function in relu, keras.activations.exponential:
            layer.activation = function
            with self.assertRaisesRegex(
                ValueError, f"activation '{function.__name__}'.*known ones"
            ):
                lipschitz_bound(model)
        # Its slope may be above one.
        layer.activation = keras.activations.silu
        self.assertAllClose(
            freeze(model).run(np.ones((1, 2))), model(np.ones((1, 2))), 1e-5
        )

    @parameterized.parameters(
        (layers.CayleyConv2D, 1),
        (layers.CayleyConv2D, 2),
        (layers.LOTConv2D, 2),
        (layers.BROConv2D, 2),
        (layers.SOCConv2D, 2),
    )
    def test_changed_part_is_refused(self, layer_cls, strides):
        layer = layer_cls(4, 3, strides=strides)
        model = keras.Sequential([keras.Input((4, 4, 1)), layer])
        part = layer.downsampling
        before = lipschitz_bound(model)
        call = part.call
        part.call = lambda x: 5 * call(x)
        with self.assertRaisesRegex(
            ValueError, f"`call` of its part '{part.name}' was replaced"
        ):
            lipschitz_bound(model)
        del part.call
        hook = part.register_forward_hook(lambda part, args, outputs: outputs)
        with self.assertRaisesRegex(
            ValueError, f"its part '{part.name}' has hooks"
        ):
            lipschitz_bound(model)
        hook.remove()
        self.assertEqual(lipschitz_bound(model), before)

    def test_changed_part_of_a_part_is_refused(self):
        cell = layers.LipschitzRNNCell(4)
        rnn = keras.layers.RNN(cell)
        model = keras.Sequential([keras.Input((3, 2)), rnn])
        lipschitz_bound(model)
        cell.recurrent.call = lambda x, training=False: 5 * x
        with self.assertRaisesRegex(ValueError, "'recurrent' was replaced"):
            lipschitz_bound(model)

    @parameterized.parameters(
        layers.LayerCentering, layers.MaxMin, layers.PadChannels
    )
    def test_batch_axis_has_no_bound(self, layer_cls):
        arguments = (6,) if layer_cls is layers.PadChannels else ()
        for axis in 0, -2:
            layer = layer_cls(*arguments)
            layer.axis = axis
            with self.assertRaises(ValueError):
                freeze(keras.Sequential([keras.Input((4,)), layer]))
