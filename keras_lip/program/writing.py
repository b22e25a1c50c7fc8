"""Converts programs to stock Keras layers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from keras_lip.program.nodes.linear import Linear
from keras_lip.types import Tensor


def write_steps(
    steps: Sequence[Any],
    output: int,
    names: Sequence[str],
    inputs: Sequence[Tensor],
) -> Tensor:
    """Computes the output of steps with stock layers.

    An activation that is the only use of a linear map is fused into its layer.

    Args:
        steps: The steps of a program.
        output: Index of the output.
        names: Names of the layers that the steps were read from, or `None`.
        inputs: Symbolic Keras tensors.
    """
    values: list[Any] = list(inputs)
    uses = Counter(index for step in steps for index in step.inputs)
    uses[output] += 1
    named: set[str] = set()
    skip = False
    for number, step in enumerate(steps):
        if skip:
            # This step is the fused activation of the previous step.
            values.append(values[-1])
            skip = False
            continue
        options: dict[str, Any] = {}
        if names:
            name = names[step.origin]
            if name not in named and not name.startswith(("_", "/")):
                named.add(name)
                options["name"] = name
        index = number + len(inputs)
        following = steps[number + 1 : number + 2]
        if (
            isinstance(step.node, Linear)
            and following
            and following[0].inputs == (index,)
            and uses[index] == 1
            and following[0].dtype == step.dtype
        ):
            function = step.node.fuses(following[0].node)
            if function is not None:
                options["activation"] = function
                skip = True
        values.append(
            step.node.to_keras(
                [values[i] for i in step.inputs], step.dtype, **options
            )
        )
    return values[output]
