"""Serialization of losses."""

import keras

from keras_lip.identifiers import find_object
from keras_lip.losses.certificate_regularization import (
    CertificateRegularization,
)
from keras_lip.losses.emma import EMMA
from keras_lip.losses.gloro import GloRo
from keras_lip.losses.hinge_margin import HingeMargin
from keras_lip.losses.hkr import HKR
from keras_lip.losses.kantorovich_rubinstein import KantorovichRubinstein
from keras_lip.losses.logit_annealing import LogitAnnealing
from keras_lip.losses.multiclass_hinge import MulticlassHinge
from keras_lip.losses.multiclass_hkr import MulticlassHKR
from keras_lip.losses.multiclass_soft_hkr import MulticlassSoftHKR
from keras_lip.losses.multilabel_hkr import MultilabelHKR
from keras_lip.losses.offset_crossentropy import OffsetCrossentropy
from keras_lip.losses.temperature_binary_crossentropy import (
    TemperatureBinaryCrossentropy,
)
from keras_lip.losses.temperature_categorical_crossentropy import (
    TemperatureCategoricalCrossentropy,
)
from keras_lip.losses.temperature_sparse_categorical_crossentropy import (
    TemperatureSparseCategoricalCrossentropy,
)
from keras_lip.types import Config

BY_NAME: dict[str, type[keras.losses.Loss]] = {
    "certificate_regularization": CertificateRegularization,
    "emma": EMMA,
    "gloro": GloRo,
    "hinge_margin": HingeMargin,
    "hkr": HKR,
    "kantorovich_rubinstein": KantorovichRubinstein,
    "logit_annealing": LogitAnnealing,
    "multiclass_hinge": MulticlassHinge,
    "multiclass_hkr": MulticlassHKR,
    "multiclass_soft_hkr": MulticlassSoftHKR,
    "multilabel_hkr": MultilabelHKR,
    "offset_crossentropy": OffsetCrossentropy,
    "temperature_binary_crossentropy": TemperatureBinaryCrossentropy,
    "temperature_categorical_crossentropy": TemperatureCategoricalCrossentropy,
    "temperature_sparse_categorical_crossentropy": (
        TemperatureSparseCategoricalCrossentropy
    ),
}


def serialize(loss: keras.losses.Loss) -> Config:
    """Returns a loss as a JSON-ready dict.

    Args:
        loss: A `keras.losses.Loss`.

    Returns:
        Dict for `get` and `keras.saving.deserialize_keras_object`.
    """
    config: Config = keras.saving.serialize_keras_object(loss)
    return config


def get(identifier: str | Config | keras.losses.Loss) -> keras.losses.Loss:
    """Returns a loss by its name or config.

    `compile` of the models of `keras_lip.models` accepts these names. The
    `compile` of other models accepts only Keras's names: pass it the result of
    this function.

    Args:
        identifier: A name such as `"multiclass_hkr"`, the output of
            `serialize`, or a `keras.losses.Loss`, which is returned unchanged.

    Returns:
        A `keras.losses.Loss`.

    Raises:
        ValueError: If the name is unknown. The message lists the known names.
        TypeError: If `identifier` is not a loss.

    Example:

    >>> keras_lip.losses.get("multiclass_hkr").alpha
    10.0
    """
    return find_object(identifier, BY_NAME, keras.losses.Loss, "loss", "losses")
