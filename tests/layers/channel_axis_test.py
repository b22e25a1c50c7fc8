import inspect

import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase

REQUIRED = {"PadChannels": {"channels": 8}, "TruncateChannels": {"channels": 2}}
LAYERS = {
    name: layer
    for name, layer in vars(layers).items()
    if isinstance(layer, type) and "axis" in inspect.signature(layer).parameters
}


class ChannelAxisTest(LipschitzTestCase):
    @parameterized.parameters(*LAYERS)
    def test_axis_that_is_no_integer_is_refused_at_once(self, name):
        for axis in ("-1", 1.0, None, True, (1, 2)):
            with self.assertRaisesRegex(
                ValueError, "`axis` must be an integer. Received: axis="
            ):
                LAYERS[name](**REQUIRED.get(name, {}), axis=axis)

    @parameterized.parameters(*LAYERS)
    def test_axis_of_numpy_is_kept_as_an_integer(self, name):
        layer = LAYERS[name](**REQUIRED.get(name, {}), axis=np.int64(1))
        self.assertIs(type(layer.get_config()["axis"]), int)
        self.run_serialization_test(layer)
