from tests.layers.every_layer import EVERY_LAYER
from tests.layers.every_layer import MERGING
from tests.layers.every_layer import WEIGHTED
from tests.layers.every_layer import names_of_layers
from tests.lipschitz_test_case import LipschitzTestCase


class EveryLayerTest(LipschitzTestCase):
    def test_the_table_has_every_layer(self):
        self.assertEqual(sorted(EVERY_LAYER), names_of_layers())

    def test_the_table_says_which_layers_have_weights(self):
        for name, (make, shape) in EVERY_LAYER.items():
            layer = make()
            shape = (None, *shape)
            layer.build([shape, shape] if name in MERGING else shape)
            self.assertEqual(bool(layer.weights), name in WEIGHTED, name)
