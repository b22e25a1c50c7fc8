import keras
import numpy as np
from absl.testing import parameterized

from tests.layers.every_layer import WEIGHTED
from tests.layers.every_layer import WEIGHTLESS
from tests.layers.every_layer import connect
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

HALVES = ("float16", "bfloat16")


class DtypesTest(LipschitzTestCase):
    @parameterized.product(name=list(WEIGHTED), dtype=HALVES)
    def test_layers_with_weights_refuse_16_bits(self, name, dtype):
        make, shape = WEIGHTED[name]
        advice = f"Use `dtype='mixed_{dtype}'`"
        with self.assertRaisesRegex(ValueError, advice):
            connect(name, make(dtype=dtype), keras.Input(shape))

    @parameterized.product(name=list(WEIGHTED), dtype=HALVES)
    def test_layers_with_weights_take_mixed_precision(self, name, dtype):
        make, shape = WEIGHTED[name]
        self.assertComputesIn(dtype, name, make(dtype=f"mixed_{dtype}"), shape)

    @parameterized.product(name=list(WEIGHTLESS), dtype=HALVES)
    def test_layers_without_weights_take_16_bits(self, name, dtype):
        make, shape = WEIGHTLESS[name]
        self.assertComputesIn(dtype, name, make(dtype=dtype), shape)

    def assertComputesIn(self, dtype, name, layer, shape):
        outputs = connect(name, layer, self.normal(2, *shape))
        self.assertEqual(keras.backend.standardize_dtype(outputs.dtype), dtype)
        outputs = to_numpy(keras.ops.cast(outputs, "float32"))
        self.assertTrue(np.isfinite(outputs).all())
