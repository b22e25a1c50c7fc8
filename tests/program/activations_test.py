import keras
import numpy as np
from absl.testing import parameterized
from keras import activations

from keras_lip.program.freezing.activations import check_activation
from keras_lip.program.freezing.activations import get_activation
from keras_lip.program.freezing.activations import get_monotone_activation
from keras_lip.program.nodes.elementwise import FUNCTIONS
from keras_lip.program.nodes.elementwise import Elementwise
from tests.lipschitz_test_case import LipschitzTestCase

_KNOWN = (
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "tanh",
    "tanh_shrink",
)


def _slopes(name):
    """Returns the slopes of a function between the points of a fine grid."""
    grid = np.linspace(-50.0, 50.0, 1_000_001)
    return np.diff(Elementwise(name).apply(grid)) / np.diff(grid)


class ActivationsTest(LipschitzTestCase):
    @parameterized.parameters(*_KNOWN)
    def test_bound_is_the_steepest_slope(self, name):
        slope, bound = np.max(np.abs(_slopes(name))), FUNCTIONS[name].slope
        # The differences of the grid are rounded to 1e-10 of a slope, ...
        self.assertLessEqual(slope, bound * (1 + 1e-9))
        # ... and may miss the steepest slope by half a step.
        self.assertLessEqual(bound, slope + 1e-3)

    @parameterized.parameters(*_KNOWN)
    def test_function_is_that_of_keras(self, name):
        x = np.linspace(-30.0, 30.0, 2001).astype("float32")
        expected = activations.get(name)(keras.ops.convert_to_tensor(x))
        actual = Elementwise(name).apply(x.astype("float64"))
        self.assertAllClose(actual, expected, 1e-5, 1e-5)

    @parameterized.parameters(*_KNOWN)
    def test_monotone_functions_have_slopes_between_zero_and_one(self, name):
        slopes = _slopes(name)
        inside = slopes.min() >= -1e-9 and slopes.max() <= 1 + 1e-9
        self.assertEqual(FUNCTIONS[name].monotone, inside)

    @parameterized.parameters(*_KNOWN)
    def test_gradient_is_the_slope(self, name):
        # Away from the corners.
        x = np.linspace(-7.3, 7.1, 57)
        node = Elementwise(name)
        (gradient,) = node.pull_back(np.full_like(x, 2.0), x)
        slopes = (node.apply(x + 1e-5) - node.apply(x - 1e-5)) / 2e-5
        self.assertAllClose(gradient, 2 * slopes, 1e-6)

    def test_no_function_of_keras_is_bounded_unseen(self):
        bounded = set()
        for name in dir(activations):
            function = getattr(activations, name)
            try:
                check_activation(function)
            except ValueError:
                continue
            bounded.add(function.__name__)
        self.assertEqual(bounded, set(_KNOWN))
        self.assertEqual(bounded, set(FUNCTIONS))

    @parameterized.parameters(
        "softmax", "log_softmax", "exponential", "glu", "hard_shrink"
    )
    def test_function_without_a_bound_is_refused(self, name):
        with self.assertRaisesRegex(
            ValueError, f"for the activation '{name}'. The known ones .* tanh"
        ):
            check_activation(activations.get(name))

    def test_other_callables_are_refused(self):
        for function in (lambda x: x, keras.layers.LeakyReLU(), None):
            with self.assertRaisesRegex(ValueError, "No Lipschitz bound"):
                check_activation(function)

    def test_function_of_the_name_of_another_is_refused(self):
        def relu(x):
            return 10 * x

        with self.assertRaisesRegex(ValueError, "for the activation 'relu'"):
            check_activation(relu)

    def test_activation_is_found_by_name_config_or_function(self):
        serialized = activations.serialize(activations.silu)
        for identifier in ("silu", "swish", serialized, activations.silu):
            self.assertIs(get_activation(identifier), activations.silu)
        self.assertIs(get_activation(None), activations.linear)

    def test_unknown_name_is_refused_with_the_known_ones(self):
        with self.assertRaisesRegex(
            ValueError, "activation 'relo'. The known ones are: celu, elu, gelu"
        ):
            get_activation("relo")

    def test_what_is_no_activation_is_refused(self):
        with self.assertRaisesRegex(ValueError, "for the activation 3"):
            get_activation(3)

    def test_function_of_a_user_is_refused_under_its_name(self):
        with keras.saving.custom_object_scope({"mine": lambda x: 10 * x}):
            with self.assertRaisesRegex(ValueError, "No Lipschitz bound"):
                get_activation("mine")

    def test_functions_that_are_not_monotone_are_told_apart(self):
        self.assertIs(get_monotone_activation("tanh"), activations.tanh)
        for name in "gelu", "silu", "selu", "mish":
            with self.assertRaisesRegex(
                ValueError, f"non-decreasing .*'{name}'. The known .*'tanh'"
            ):
                get_monotone_activation(name)
