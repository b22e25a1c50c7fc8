import contextlib
from unittest import mock

import keras

from keras_lip import precision
from tests.mutations.mutation_test_case import MutationTestCase
from tests.precision_test import reduced_precision


class PrecisionMutationsTest(MutationTestCase):
    def test_products_of_reduced_precision(self):
        backend = keras.backend.backend()
        name = f"_{backend}_full_precision"

        def check():
            with reduced_precision() as is_reduced:
                with precision.full_precision_scope():
                    self.assertFalse(any(is_reduced()))

        mutation = mock.patch.object(precision, name, contextlib.nullcontext)
        self.assertCaught(mutation, check)
