from keras_lip.models.clone_model import clone_model as clone_model
from keras_lip.models.conversion import Conversion as Conversion
from keras_lip.models.export import export as export
from keras_lip.models.fix_steps import fix_steps as fix_steps
from keras_lip.models.from_keras import from_keras as from_keras
from keras_lip.models.lipschitz_model import LipschitzModel as LipschitzModel
from keras_lip.models.lipschitz_sequential import (
    LipschitzSequential as LipschitzSequential,
)
from keras_lip.models.materialize import materialize as materialize
