from tests.layers.every_layer import CASES
from tests.layers.every_layer import names_of_layers
from tests.lipschitz_test_case import LipschitzTestCase


class EveryLayerTest(LipschitzTestCase):
    def test_the_table_has_every_layer(self):
        missing = sorted(set(names_of_layers()) - set(CASES))
        self.assertEmpty(
            missing,
            "Public layers without a `Case` in tests/layers/every_layer.py, "
            f"which the tests of all layers are of: {missing}",
        )
        unknown = sorted(set(CASES) - set(names_of_layers()))
        self.assertEmpty(unknown, "Cases of what is no public layer")

    def test_the_table_says_which_layers_have_weights(self):
        for name, case in CASES.items():
            layer = case.make()
            self.assertIs(type(layer), case.layer_cls)
            for sample in (case.sample, case.uneven):
                layer = case.make()
                shape = (None, *sample)
                layer.build([shape, shape] if case.merges else shape)
                self.assertEqual(bool(layer.weights), case.weighted, name)
