"""The steps of a program, and the layers that they were read from."""

import dataclasses

from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape


@dataclasses.dataclass(frozen=True)
class Origin:
    """The layer or operation of a model that steps were read from.

    It is used in tables and error messages, but not in proofs.

    Attributes:
        name: Name of the layer.
        kind: Name of its class.
        guarantee: The guarantee of its class, or `"none"`.
        inputs: Tuple of indices of the input tensors.
        output: Index of the output tensor.
    """

    name: str
    kind: str
    guarantee: str
    inputs: tuple[int, ...] = ()
    output: int = -1


@dataclasses.dataclass(frozen=True)
class Step:
    """One node of a program, and its inputs.

    Attributes:
        node: The `Node`.
        inputs: Tuple of indices of tensors: first the inputs of the program,
            then its steps.
        shape: Shape of the output for one sample.
        dtype: Name of the dtype in which the model computes the step.
        origin: Index of its `Origin`.
    """

    node: Node
    inputs: tuple[int, ...]
    shape: SampleShape
    dtype: str
    origin: int
