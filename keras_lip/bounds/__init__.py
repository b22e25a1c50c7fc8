from keras_lip.bounds.lipschitz_bound import lipschitz_bound as lipschitz_bound
from keras_lip.bounds.lipschitz_lower_bound import (
    lipschitz_lower_bound as lipschitz_lower_bound,
)
from keras_lip.bounds.propagate_bound import propagate_bound as propagate_bound
