"""Names the layers whose bounds a user has claimed, not this library proven."""

from collections.abc import Sequence

from keras_lip.program import Program
from keras_lip.program.bounding import ProgramBounds
from keras_lip.proofs.method_notes import CLAIMED


def find_claims(program: Program, bounds: ProgramBounds) -> tuple[str, ...]:
    """Returns the names of the layers whose bounds a user has claimed.

    Args:
        program: A `Program`.
        bounds: Its `ProgramBounds`.
    """
    names = {
        program.origins[step.origin].name: None
        for index, step in enumerate(program.steps, start=program.num_inputs)
        if CLAIMED in bounds.methods[index]
    }
    return tuple(names)


def describe_basis(claims: Sequence[str]) -> str:
    """Says what a bound of a model relies on.

    Args:
        claims: Names of the layers whose bounds a user has claimed.

    Returns:
        `"proven"`, or a text that names the layers.
    """
    if not claims:
        return "proven"
    return f"proven if the bounds claimed by the user hold, of {_list(claims)}"


def assume_claims(claims: Sequence[str]) -> list[str]:
    """Returns the assumption that claims hold, or no assumption."""
    if not claims:
        return []
    return [
        f"The Lipschitz bounds of {_list(claims)}, which the user has claimed "
        "by a rule or by `lipschitz_bound()`, hold. They are not proven."
    ]


def _list(claims: Sequence[str]) -> str:
    names = ", ".join(repr(name) for name in claims)
    return f"layer{'s' if len(claims) > 1 else ''} {names}"
