import inspect
import warnings

import keras
from absl.testing import parameterized

from keras_lip import applications
from keras_lip import layers
from keras_lip.layers import registry
from tests.lipschitz_test_case import LipschitzTestCase

FAMILIES = (
    registry.ACTIVATIONS,
    registry.CONVOLUTIONS,
    registry.DENSE_LAYERS,
    registry.MEASURED_CONVOLUTIONS,
    registry.RESIDUAL_BLOCKS,
)
OLD_NAMES = {
    "absolute": layers.AbsoluteValue,
    "cpl": layers.ConvexPotentialConv2D,
    "groupsort": layers.GroupSort,
    "maxmin": layers.MaxMin,
}


def spell(name):
    """Returns the name of a class in words, such as `max_min`."""
    letters = [f"_{c.lower()}" if c.isupper() else c for c in name]
    return "".join(letters).lstrip("_")


class RegistryTest(LipschitzTestCase):
    def test_every_name_stands_for_its_class(self):
        for family in FAMILIES:
            for name, layer_cls in family.items():
                self.assertIs(layers.get(name), layer_cls)

    def test_every_name_is_of_one_layer_and_documented(self):
        names = [name for family in FAMILIES for name in family]
        self.assertLen(set(names), len(names))
        for name in names:
            self.assertIn(f'`"{name}"`', inspect.getdoc(layers.get))

    def test_activations_are_spelled_as_their_classes(self):
        for name, layer_cls in registry.ACTIVATIONS.items():
            if layer_cls is not keras.layers.ReLU:
                self.assertEqual(name, spell(layer_cls.__name__))

    def test_every_convolution_of_images_is_registered(self):
        registered = {
            *registry.CONVOLUTIONS.values(),
            *registry.MEASURED_CONVOLUTIONS.values(),
            *registry.RESIDUAL_BLOCKS.values(),
            # Two layers in one.
            layers.SkewFlowConv2D,
        }
        public = {
            getattr(layers, name)
            for name in layers.__all__
            if name.endswith("Conv2D")
        }
        self.assertEqual(registered, public)

    def test_residual_blocks_have_dense_counterparts(self):
        self.assertEqual(
            registry.DENSE_RESIDUAL_BLOCKS.keys(),
            registry.RESIDUAL_BLOCKS.keys(),
        )
        for name, dense in registry.DENSE_RESIDUAL_BLOCKS.items():
            self.assertEqual(
                dense.__name__.replace("Dense", "Conv2D"),
                registry.RESIDUAL_BLOCKS[name].__name__,
            )

    @parameterized.parameters(*OLD_NAMES.items())
    def test_older_spelling_is_read_with_a_warning(self, name, layer_cls):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = layers.get(name)
        self.assertIs(found, layer_cls)
        (warning,) = caught
        self.assertIs(warning.category, DeprecationWarning)
        current = registry.current_name(
            next(n for f in FAMILIES for n in f if f[n] is layer_cls)
        )
        self.assertIn(f"{name!r} is now {current!r}", str(warning.message))
        # The caller is told, and not a file of the library.
        self.assertEqual(warning.filename, __file__)

    def test_warning_through_an_application_is_of_its_caller(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            applications.FullyConnected3(
                (4, 4, 1), classes=2, activation="groupsort", units=4
            )
        self.assertNotEmpty(caught)
        for warning in caught:
            self.assertEqual(warning.filename, __file__)

    def test_no_name_is_an_older_one(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for family in FAMILIES:
                for name in family:
                    self.assertEqual(registry.current_name(name), name)

    def test_unknown_name_lists_the_known_ones(self):
        with self.assertRaisesRegex(
            ValueError, "Unknown layer: 'fft'. The known ones are: .*'aol'"
        ):
            layers.get("fft")
        with self.assertRaisesRegex(ValueError, r"Unknown layer: \[\]"):
            layers.get([])
