import keras
import numpy as np
from absl.testing import parameterized
from keras import activations
from keras import ops

from keras_lip.bounds.activation_bound import activation_bound
from keras_lip.bounds.activation_bound import get_activation
from keras_lip.precision import float64_scope
from tests.lipschitz_test_case import LipschitzTestCase

_KNOWN = (
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
)


def _steepest(function):
    """Maximizes the slope of a function between the points of a fine grid."""
    grid = np.linspace(-20.0, 20.0, 400_001)
    with float64_scope():
        outputs = function(ops.convert_to_tensor(grid, dtype="float64"))
        outputs = np.asarray(ops.convert_to_numpy(outputs), dtype="float64")
    return np.max(np.abs(np.diff(outputs) / np.diff(grid)))


class ActivationBoundTest(LipschitzTestCase):
    @parameterized.parameters(*_KNOWN)
    def test_bound_is_the_steepest_slope(self, name):
        function = activations.get(name)
        slope, bound = _steepest(function), activation_bound(function, 1.0)
        # The differences of the grid are rounded to 1e-10 of a slope, ...
        self.assertLessEqual(slope, bound * (1 + 1e-9))
        # ... and may miss the steepest slope by half a step.
        self.assertLessEqual(bound, slope + 1e-3)

    def test_both_forms_of_gelu_are_bounded(self):
        bound = activation_bound(activations.gelu, 1.0)
        for approximate in True, False:
            slope = _steepest(lambda x, a=approximate: activations.gelu(x, a))
            self.assertLessEqual(slope, bound)

    def test_no_function_of_keras_is_bounded_unseen(self):
        bounded = set()
        for name in dir(activations):
            function = getattr(activations, name)
            try:
                activation_bound(function, 1.0)
            except ValueError:
                continue
            bounded.add(function.__name__)
        self.assertEqual(bounded, set(_KNOWN))

    def test_bound_of_the_input_is_multiplied(self):
        self.assertEqual(activation_bound(activations.sigmoid, 6.0), 1.5)
        self.assertEqual(activation_bound(activations.relu, np.inf), np.inf)

    @parameterized.parameters("softmax", "mish", "hard_silu", "exponential")
    def test_function_without_a_bound_is_refused(self, name):
        with self.assertRaisesRegex(
            ValueError, f"for the activation '{name}'. The known ones .* tanh"
        ):
            activation_bound(activations.get(name), 1.0)

    def test_other_callables_are_refused(self):
        for function in (lambda x: x, keras.layers.LeakyReLU(), None):
            with self.assertRaisesRegex(ValueError, "No Lipschitz bound"):
                activation_bound(function, 1.0)

    def test_activation_is_found_by_name_config_or_function(self):
        serialized = activations.serialize(activations.silu)
        for identifier in ("silu", "swish", serialized, activations.silu):
            self.assertIs(get_activation(identifier), activations.silu)
        self.assertIs(get_activation(None), activations.linear)

    def test_unknown_name_is_refused_with_the_known_ones(self):
        with self.assertRaisesRegex(
            ValueError, "activation 'relo'. The known ones are: elu, gelu"
        ):
            get_activation("relo")

    def test_what_is_no_activation_is_refused(self):
        with self.assertRaisesRegex(ValueError, "for the activation 3"):
            get_activation(3)

    def test_function_of_a_user_is_refused_under_its_name(self):
        with keras.saving.custom_object_scope({"mine": lambda x: 10 * x}):
            with self.assertRaisesRegex(ValueError, "No Lipschitz bound"):
                get_activation("mine")
