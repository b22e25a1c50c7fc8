import math

import keras

from keras_lip import bounds
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase


class ApplicationTestCase(LipschitzTestCase):
    def count_parameters(self, make, *args, **kwargs):
        """Counts trainable numbers without making them."""
        # Weights that were never initialized would be, at the next chance.
        self.addCleanup(keras.utils.clear_session)
        with keras.StatelessScope(initialize_variables=False):
            model = make(*args, **kwargs)
            shapes = [weight.shape for weight in model.trainable_variables]
        return sum(map(math.prod, shapes))

    def run_application_test(self, model, bound, atol=1e-4):
        """The network is bounded, and saved, loaded and exported the same."""
        self.assertIsInstance(model, models.LipschitzModel)
        self.assertLessEqual(bounds.lipschitz_bound(model), bound)
        x = self.normal(2, *model.input_shape[1:])
        # Compiled as a whole, which is a fraction of one operation at a time.
        outputs = model.predict(x, verbose=0)
        self.assertEqual(outputs.shape, (2, *model.output_shape[1:]))
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertIsInstance(loaded, models.LipschitzModel)
        self.assertAllClose(loaded.predict(x, verbose=0), outputs, 1e-5)
        # Other operations round otherwise, by a few 1e-6 of the outputs.
        stock = models.materialize(model)
        self.assertStock(stock)
        self.assertAllClose(stock.predict(x, verbose=0), outputs, atol)
