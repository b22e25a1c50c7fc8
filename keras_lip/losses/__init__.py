from keras_lip.losses.curvature_crossentropy import (
    CurvatureCrossentropy as CurvatureCrossentropy,
)
from keras_lip.losses.hinge_margin import HingeMargin as HingeMargin
from keras_lip.losses.hkr import HKR as HKR
from keras_lip.losses.kantorovich_rubinstein import (
    KantorovichRubinstein as KantorovichRubinstein,
)
from keras_lip.losses.multiclass_hinge import MulticlassHinge as MulticlassHinge
from keras_lip.losses.multiclass_hkr import MulticlassHKR as MulticlassHKR
from keras_lip.losses.multiclass_soft_hkr import (
    MulticlassSoftHKR as MulticlassSoftHKR,
)
from keras_lip.losses.multilabel_hkr import MultilabelHKR as MultilabelHKR
from keras_lip.losses.registry import get as get
from keras_lip.losses.registry import serialize as serialize
from keras_lip.losses.temperature_binary_crossentropy import (
    TemperatureBinaryCrossentropy as TemperatureBinaryCrossentropy,
)
from keras_lip.losses.temperature_categorical_crossentropy import (
    TemperatureCategoricalCrossentropy as TemperatureCategoricalCrossentropy,
)
from keras_lip.losses.temperature_sparse_categorical_crossentropy import (
    TemperatureSparseCategoricalCrossentropy as TemperatureSparseCategoricalCrossentropy,  # noqa: E501
)
