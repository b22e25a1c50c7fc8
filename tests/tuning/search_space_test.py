"""Every value of every parameter: built, trained for a step, certified."""

import keras
import keras_tuner
import numpy as np
import pytest
from absl.testing import parameterized

from keras_lip.layers import registry
from keras_lip.tuning import search_space
from keras_lip.tuning.hyper_convex_potential_net import HyperConvexPotentialNet
from keras_lip.tuning.hyper_lipschitz_conv_net import HyperLipschitzConvNet
from keras_lip.tuning.hyper_lipschitz_mlp import HyperLipschitzMLP
from tests.lipschitz_test_case import LipschitzTestCase

pytestmark = pytest.mark.slow


# Sets of values that hold every value of every choice at least once. What is
# not named has its default.
MLP = [
    {"depth": 1, "units": 64, "noise": 0.0},
    {
        "depth": 2,
        "units": 64,
        "orthogonal_parametrization": "cayley",
        "activation": "group_sort",
        "head": "orthogonal",
        "loss": "hinge",
        "noise": 0.05,
    },
    {
        "depth": 3,
        "units": 64,
        "orthogonal_parametrization": "cholesky",
        "activation": "full_sort",
        "loss": "hkr",
        "noise": 0.2,
    },
    {
        "depth": 4,
        "units": 64,
        "orthogonal_parametrization": "exponential",
        "activation": "householder",
    },
    {
        "depth": 1,
        "units": 128,
        "orthogonal_parametrization": "qr",
        "activation": "absolute_value",
    },
    {"depth": 1, "units": 192, "layer": "lipschitz"},
    {
        "depth": 1,
        "units": 256,
        "layer": "lipschitz",
        "lipschitz_parametrization": "spectral",
    },
    {"depth": 1, "units": 64, "layer": "sandwich"},
]
CONV_NET = [
    {"stages": 1, "filters": 16, "units": 64},
    {
        "stages": 2,
        "filters": 16,
        "bcop_parametrization": "bjorck",
        "padding_mode": "circular",
        "downsampling": "strides",
        "dense_depth": 2,
        "units": 64,
        "activation": "group_sort",
    },
    {
        "stages": 1,
        "filters": 16,
        "bcop_parametrization": "cholesky",
        "downsampling": "average",
        "dense_depth": 0,
        "activation": "full_sort",
        "loss": "hinge",
    },
    {
        "stages": 1,
        "filters": 16,
        "bcop_parametrization": "exponential",
        "downsampling": "l2_norm",
        "dense_depth": 0,
        "activation": "householder",
        "loss": "hkr",
    },
    {
        "stages": 1,
        "filters": 16,
        "bcop_parametrization": "qr",
        "dense_depth": 0,
        "activation": "absolute_value",
        "head": "orthogonal",
    },
    {"depth": 2, "convolution": "rko", "filters": 16, "units": 128},
    {
        "convolution": "rko",
        "filters": 32,
        "rko_parametrization": "cayley",
        "noise": 0.0,
        "units": 192,
    },
    {"convolution": "aol", "filters": 64, "units": 256, "noise": 0.05},
    {"convolution": "soc", "filters": 16, "dense_depth": 0, "noise": 0.2},
    {"stages": 3, "convolution": "cayley", "filters": 16, "dense_depth": 0},
]
CONVEX_POTENTIAL_NET = [
    {"depth": 2, "filters": 16, "units": 64},
    {
        "depth": 5,
        "filters": 16,
        "padding_mode": "circular",
        "dense_depth": 0,
        "noise": 0.0,
        "loss": "hinge",
    },
    {
        "block": "sll",
        "depth": 10,
        "filters": 16,
        "dense_depth": 5,
        "units": 128,
        "noise": 0.05,
        "loss": "hkr",
    },
    {
        "block": "sll",
        "depth": 20,
        "filters": 16,
        "units": 192,
        "noise": 0.2,
        "head": "orthogonal",
    },
    {"depth": 2, "filters": 32, "units": 256},
    {"depth": 2, "filters": 64, "dense_depth": 0},
]
FAMILIES = [
    ("mlp", HyperLipschitzMLP, MLP),
    ("conv_net", HyperLipschitzConvNet, CONV_NET),
    ("convex_potential_net", HyperConvexPotentialNet, CONVEX_POTENTIAL_NET),
]
CASES = [
    (f"{name}_{index}", hyper_model, values)
    for name, hyper_model, cases in FAMILIES
    for index, values in enumerate(cases)
]

# Elsewhere, to compile whole networks takes minutes. The tests of layers train
# every layer on every backend.
TRAINED = [
    case
    for case in CASES
    if keras.backend.backend() == "torch" or case[0].endswith("_0")
]


def complete(hyper_model, values):
    """Returns parameters with these values, and defaults for the rest."""
    parameters = keras_tuner.HyperParameters()
    parameters.values = dict(values)
    hyper_model.declare_hyperparameters(parameters)
    return parameters


class SearchSpaceTest(LipschitzTestCase):
    @parameterized.named_parameters(*CASES)
    def test_values_build(self, hyper_model, values):
        hyper_model = hyper_model((8, 8, 1), classes=3, epsilon=0.1)
        model = hyper_model.build(complete(hyper_model, values))
        self.assertEqual(model.output_shape, (None, 3))

    @parameterized.named_parameters(*TRAINED)
    def test_values_train_and_certify(self, hyper_model, values):
        hyper_model = hyper_model((8, 8, 1), classes=3, epsilon=0.1)
        parameters = complete(hyper_model, values)
        x, y = self.normal(8, 8, 8, 1), np.arange(8) % 3
        metrics = hyper_model.fit(
            parameters,
            hyper_model.build(parameters),
            x,
            y,
            validation_data=(x, y),
            epochs=1,
        )
        certified = metrics["val_certified_accuracy"]
        self.assertBetween(certified, 0.0, metrics["val_accuracy"])
        self.assertTrue(np.isfinite(list(metrics.values())).all())

    @parameterized.named_parameters(*FAMILIES)
    def test_the_cases_hold_every_value(self, hyper_model, cases):
        hyper_model = hyper_model((8, 8, 1), classes=3, epsilon=0.1)
        seen = {}
        for values in cases:
            parameters = complete(hyper_model, values)
            self.assertContainsSubset(values, parameters.values)
            for name, value in parameters.values.items():
                seen.setdefault(name, set()).add(value)
        for parameter in parameters.space:
            if isinstance(parameter, keras_tuner.engine.hyperparameters.Choice):
                self.assertEqual(
                    seen[parameter.name], set(parameter.values), parameter.name
                )
            self.assertIn(parameter.name, seen)

    @parameterized.named_parameters(*FAMILIES)
    def test_one_call_declares_the_whole_space(self, hyper_model, cases):
        hyper_model = hyper_model((8, 8, 1), classes=3, epsilon=0.1)
        declared = [
            {p.name for p in complete(hyper_model, values).space}
            for values in [{}, *cases]
        ]
        for names in declared:
            self.assertEqual(names, declared[0])

    def test_what_does_not_apply_is_not_sampled(self):
        hyper_model = HyperLipschitzConvNet((8, 8, 1), 3, epsilon=0.1)
        parameters = complete(
            hyper_model,
            {"convolution": "cayley", "dense_depth": 0, "loss": "hinge"},
        )
        absent = {"padding_mode", "units", "temperature", "alpha"}
        self.assertNoCommonElements(absent, parameters.values)
        self.assertIn("margin", parameters.values)

    def test_no_more_stages_than_the_image_can_be_halved(self):
        hyper_model = HyperLipschitzConvNet((28, 28, 1), 3, epsilon=0.1)
        space = complete(hyper_model, {}).space
        stages = next(p for p in space if p.name == "stages")
        self.assertEqual(stages.values, [1, 2])

    def test_groups_divide_every_width(self):
        for size in (*search_space.UNITS, *search_space.FILTERS):
            self.assertEqual(size % search_space.GROUP_SIZE, 0)

    def test_choices_are_names_of_the_registry(self):
        for names, known in (
            (search_space.ACTIVATIONS, registry.ACTIVATIONS),
            (search_space.CONVOLUTIONS, registry.CONVOLUTIONS),
            (search_space.DENSE_LAYERS, registry.DENSE_LAYERS),
            (search_space.HEADS, registry.DENSE_LAYERS),
        ):
            self.assertContainsSubset(names, known)
        # Every activation that preserves gradients is searched, but for what
        # searches that go on have not begun with.
        self.assertEqual(
            set(search_space.ACTIVATIONS),
            registry.ACTIVATIONS.keys() - {"beta_abs", "relu"},
        )

    def test_values_of_older_searches_are_still_choices(self):
        # What a search of the first edition wrote down, in its order: the
        # default comes first.
        first = {
            "activation": [
                "max_min",
                "group_sort",
                "full_sort",
                "householder",
                "absolute_value",
            ],
            "convolution": ["bcop", "rko", "aol", "soc", "cayley"],
            "head": ["unit_norm", "orthogonal"],
            "layer": ["orthogonal", "lipschitz", "sandwich"],
            "block": ["convex_potential", "sll"],
        }
        for _, hyper_model, _ in FAMILIES:
            hyper_model = hyper_model((8, 8, 1), classes=3, epsilon=0.1)
            for parameter in complete(hyper_model, {}).space:
                if parameter.name in first:
                    self.assertEqual(parameter.values, first[parameter.name])

    def test_groups_of_the_activation_have_the_size(self):
        parameters = keras_tuner.HyperParameters()
        parameters.values = {"activation": "group_sort"}
        layer = search_space.choose_activation(parameters)()
        self.assertEqual(layer.group_size, search_space.GROUP_SIZE)
