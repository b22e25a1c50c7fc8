from keras_lip.models.clone_model import clone_model as clone_model
from keras_lip.models.fix_steps import fix_steps as fix_steps
from keras_lip.models.lipschitz_model import LipschitzModel as LipschitzModel
from keras_lip.models.lipschitz_sequential import (
    LipschitzSequential as LipschitzSequential,
)
from keras_lip.models.materialize import materialize as materialize
