"""Lower bounds on how much the tensors of a program can contract."""

import math
from collections.abc import Sequence

import numpy as np

from keras_lip.program.node import count_entries
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.nodes.merges import Concatenate
from keras_lip.program.parts import find_entries
from keras_lip.program.parts import find_source
from keras_lip.program.program import Program
from keras_lip.program.step import Step
from keras_lip.proofs.rounding import add_down
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import hypot_down
from keras_lip.proofs.rounding import multiply_down
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import sqrt_down


def bound_contraction(program: Program, norm: str) -> float:
    """Returns a number `c` with `|f(x) - f(y)| >= c |x - y|` for all inputs.

    Nodes with one input multiply the number by their own. A sum `x_1 + x_2` has
    at least the number of `x_1` minus the Lipschitz constant of `x_2`. Both are
    taken from the last tensor that every path to the sum crosses, so a chain of
    residual blocks has the product of the numbers of its blocks.

    Args:
        program: The `Program`. If it has several inputs, or rounds to less than
            32 bits, nothing is known.
        norm: `"l2"` or `"linf"`.

    Returns:
        Float, at least zero. Zero means that nothing is known.
    """
    if program.num_inputs != 1 or program.roundings:
        return 0.0
    lows = [1.0]
    uppers = program.bounds(norm).values
    doors = _find_doors(program)
    for index, step in enumerate(program.steps, start=1):
        door = doors[index]
        if len(step.inputs) > 1 and door > 0:
            part = program.part(door, index)
            inner = 0.0 if part is None else bound_contraction(part, norm)
            low = multiply_down(lows[door], inner)
        else:
            low = _contract_step(program, step, norm, lows, uppers)
        lows.append(low if 0 < low < math.inf else 0.0)
    return lows[program.output]


def _find_doors(program: Program) -> list[int]:
    """Returns the last other tensor on all paths to each tensor.

    It is the parent in the tree of dominators.
    """
    doors = [-1]
    for step in program.steps:
        door = step.inputs[0]
        for index in step.inputs[1:]:
            # A tensor comes after its door.
            while door != index:
                if door > index:
                    door = doors[door]
                else:
                    index = doors[index]
        doors.append(door)
    return doors


def _contract_step(
    program: Program,
    step: Step,
    norm: str,
    lows: Sequence[float],
    uppers: Sequence[float],
) -> float:
    node, indices = step.node, step.inputs
    if not node.is_finite or norm not in node.norms:
        return 0.0
    if isinstance(node, Combine):
        return _add(node, [(lows[i], uppers[i]) for i in indices])
    if isinstance(node, Concatenate):
        return _concatenate(program, indices, norm, lows)
    if len(indices) > 1:
        return 0.0
    (index,) = indices
    known = node.contraction(norm, program.shape_of(index))
    return multiply_down(lows[index], known)


def _add(node: Combine, pairs: list[tuple[float, float]]) -> float:
    """Bounds a sum: one term, minus all that the others may cancel of it."""
    best = 0.0
    changes = [
        multiply_up(size, upper)
        for size, (_, upper) in zip(node.sizes, pairs, strict=True)
    ]
    for i, (low, _) in enumerate(pairs):
        others = add_up(*(each for j, each in enumerate(changes) if j != i))
        kept = multiply_down(node.least_sizes[i], low)
        best = max(best, add_down(kept, -others))
    return best


def _concatenate(
    program: Program,
    indices: tuple[int, ...],
    norm: str,
    lows: Sequence[float],
) -> float:
    """Bounds a concatenation. Parts may together contain a whole tensor."""
    groups: dict[int, list[int]] = {}
    for index in indices:
        groups.setdefault(find_source(program, index), []).append(index)
    found = []
    for source, members in groups.items():
        copies = np.zeros(count_entries(program.shape_of(source)) + 1)
        for index in members:
            entries = find_entries(program, index, source)
            copies += np.bincount(entries.ravel(), minlength=len(copies))
        least = float(np.min(copies[1:], initial=math.inf))
        whole = 0.0
        if 1 <= least < math.inf:
            factor = sqrt_down(least) if norm == "l2" else 1.0
            whole = multiply_down(factor, lows[source])
        apart = [lows[index] for index in members]
        found.append(
            max(whole, hypot_down(*apart) if norm == "l2" else max(apart))
        )
    return hypot_down(*found) if norm == "l2" else max(found)
