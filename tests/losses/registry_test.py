import json

import keras
from absl.testing import parameterized

from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase

NAMES = {
    "certificate_regularization": losses.CertificateRegularization,
    "emma": losses.EMMA,
    "gloro": losses.GloRo,
    "hinge_margin": losses.HingeMargin,
    "hkr": losses.HKR,
    "kantorovich_rubinstein": losses.KantorovichRubinstein,
    "logit_annealing": losses.LogitAnnealing,
    "multiclass_hinge": losses.MulticlassHinge,
    "multiclass_hkr": losses.MulticlassHKR,
    "multiclass_soft_hkr": losses.MulticlassSoftHKR,
    "multilabel_hkr": losses.MultilabelHKR,
    "offset_crossentropy": losses.OffsetCrossentropy,
    "temperature_binary_crossentropy": losses.TemperatureBinaryCrossentropy,
    "temperature_categorical_crossentropy": (
        losses.TemperatureCategoricalCrossentropy
    ),
    "temperature_sparse_categorical_crossentropy": (
        losses.TemperatureSparseCategoricalCrossentropy
    ),
}


class RegistryTest(LipschitzTestCase):
    @parameterized.parameters(*NAMES.items())
    def test_name_gives_the_loss_of_that_name(self, name, loss_cls):
        loss = losses.get(name)
        self.assertIs(type(loss), loss_cls)
        self.assertEqual(loss.name, name)

    def test_config_gives_the_same_loss(self):
        config = losses.serialize(losses.HKR(alpha=3.0, margin=0.5))
        loss = losses.get(json.loads(json.dumps(config)))
        self.assertIsInstance(loss, losses.HKR)
        self.assertEqual((loss.alpha, loss.margin), (3.0, 0.5))

    def test_instance_is_returned_as_it_is(self):
        loss = losses.HKR()
        self.assertIs(losses.get(loss), loss)

    @parameterized.parameters("mse", "HKR", "hk", "")
    def test_unknown_name_is_refused(self, name):
        with self.assertRaisesRegex(
            ValueError,
            f"Unknown loss: '{name}'. The known ones are: "
            "'certificate_regularization', 'emma', "
            ".*'temperature_sparse_categorical_crossentropy'",
        ):
            losses.get(name)

    @parameterized.parameters(None, 3, losses.HKR)
    def test_what_is_no_loss_is_refused(self, identifier):
        with self.assertRaisesRegex(TypeError, "A loss is given by its name"):
            losses.get(identifier)

    def test_config_of_something_else_is_refused(self):
        config = keras.saving.serialize_keras_object(keras.layers.Dense(1))
        with self.assertRaisesRegex(TypeError, "A loss is given by its name"):
            losses.get(config)

    @parameterized.parameters(*NAMES)
    def test_compiled_model_is_saved_with_its_loss(self, name):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        model.compile("sgd", losses.get(name))
        path = self.temporary_path("model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual(loaded.loss.get_config(), model.loss.get_config())
