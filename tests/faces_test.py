import inspect
import re

import keras
from absl.testing import parameterized

import keras_lip
from keras_lip import layers
from tests.layers.every_layer import EVERY_LAYER
from tests.lipschitz_test_case import LipschitzTestCase

ROOMS = [name for name in keras_lip.__all__ if not name.startswith("_")]


def public_names():
    for room in ROOMS:
        face = getattr(keras_lip, room)
        for name in face.__all__:
            yield room, name, getattr(face, name)


def documented_arguments(value):
    """Returns the names and the texts of the section `Args`."""
    doc = inspect.getdoc(value) or ""
    section = re.search(r"^Args:\n((?:(?: .*)?\n)+)", doc + "\n", re.MULTILINE)
    if section is None:
        return {}
    found = re.findall(
        r"^ {4}(\*{0,2}\w+): ((?:.*\n?)(?: {5,}.*\n?)*)",
        section[1],
        re.MULTILINE,
    )
    return {name: " ".join(text.split()) for name, text in found}


def signature(value):
    """Returns the parameters that a caller sees, by name."""
    parameters = inspect.signature(value).parameters.values()
    stars = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    return {stars.get(p.kind, "") + p.name: p for p in parameters}


# Classes that Keras fills the signature of, and results that nobody makes.
MADE_ELSEWHERE = (
    "Adversarials",
    "AuditReport",
    "CertificationReport",
    "Conversion",
    "FalsificationSummary",
    "FisherInformation",
    "LipschitzLayer",
    "LipschitzModel",
    "LipschitzSequential",
    "Parametrization",
    "PublishedWeights",
    "Saliency",
    "WassersteinReport",
)
CASES = [
    (f"{room}_{name}", value)
    for room, name, value in public_names()
    if (inspect.isclass(value) or inspect.isfunction(value))
    and name not in MADE_ELSEWHERE
]


class FacesTest(LipschitzTestCase):
    """What `import keras_lip` shows."""

    def test_rooms_show_their_public_names_alone(self):
        self.assertEqual(dir(keras_lip), sorted(keras_lip.__all__))
        for room in ROOMS:
            face = getattr(keras_lip, room)
            self.assertEqual(dir(face), sorted(face.__all__))
            self.assertGreater(len(face.__doc__), 40, room)

    def test_no_public_name_is_a_module(self):
        for _, name, value in public_names():
            self.assertFalse(inspect.ismodule(value), name)

    def test_old_names_warn_of_the_new_ones(self):
        with self.assertWarnsRegex(DeprecationWarning, "is now `keras_lip.exp"):
            found = keras_lip.certificates.saliency_maps
        self.assertIs(found, keras_lip.explanations.saliency_maps)
        with self.assertWarnsRegex(
            DeprecationWarning, "only a bound is proven"
        ):
            found = keras_lip.bounds.lipschitz_lower_bound
        self.assertIs(found, keras_lip.bounds.lipschitz_estimate)
        for room in (keras_lip, keras_lip.bounds, keras_lip.certificates):
            with self.assertRaisesRegex(AttributeError, "no attribute 'noth"):
                room.nothing  # noqa: B018


class SignaturesTest(LipschitzTestCase):
    """What `help` shows."""

    @parameterized.named_parameters(*CASES)
    def test_arguments_are_documented_and_nothing_else(self, value):
        shown = {k: p for k, p in signature(value).items() if k != "*args"}
        documented = documented_arguments(value)
        if not documented and set(shown) <= {"**kwargs"}:
            return
        self.assertEqual(list(documented), list(shown))

    @parameterized.named_parameters(*CASES)
    def test_defaults_are_said(self, value):
        documented = documented_arguments(value)
        for name, parameter in signature(value).items():
            if parameter.default is inspect.Parameter.empty:
                continue
            self.assertIn("efault", documented[name], name)

    @parameterized.named_parameters(
        (name, getattr(layers, name))
        for name in layers.__all__
        if re.search("Conv[12]D", name)
    )
    def test_the_third_argument_of_a_convolution_is_no_trap(self, cls):
        third = list(inspect.signature(cls).parameters)[2]
        self.assertIn(third, ("strides", "padding"))
        if third == "strides":
            self.assertEqual(set(cls(8, 3, 2).strides), {2})
        else:
            with self.assertRaisesRegex(ValueError, "padding"):
                cls(8, 3, 2)

    @parameterized.parameters(*EVERY_LAYER)
    def test_no_argument_of_ours_is_hidden(self, name):
        make, _ = EVERY_LAYER[name]
        theirs = keras.layers.Layer().get_config().keys()
        ours = make().get_config().keys() - theirs
        shown = inspect.signature(getattr(layers, name)).parameters
        self.assertLessEqual(ours, shown.keys())

    def test_a_parametrization_by_its_place_is_read_with_a_warning(self):
        with self.assertWarnsRegex(DeprecationWarning, "parametrization=..."):
            layer = layers.OrthogonalDense(3, "bjorck")
        self.assertEqual(type(layer.parametrization).__name__, "Bjorck")
        self.assertIs(layer.activation, keras.activations.linear)
