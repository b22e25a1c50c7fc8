from keras_lip.certificates.execution import rules as rules
from keras_lip.certificates.execution.execution_certifier import (
    ExecutionCertifier as ExecutionCertifier,
)
