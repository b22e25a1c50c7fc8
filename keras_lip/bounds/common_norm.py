"""The norm in which all layers of a model have a bound."""

from typing import Any

from keras_lip.model_layers import visit_layers
from keras_lip.program.freezing.registry import find_norms
from keras_lip.proofs.norms import NORMS
from keras_lip.proofs.norms import check_norm


def common_norm(model: Any, norm: str | None = None) -> str:
    """Returns the norm in which a model is bounded.

    Args:
        model: A layer or a model. If the model is not built, its list of layers
            is used. No weights are read.
        norm: `"l2"`, `"linf"`, or `None` for the norm in which all layers have
            a bound, or l2 if they have bounds in both.

    Returns:
        `"l2"` or `"linf"`.

    Raises:
        ValueError: If no bound is known for a layer, which the message names;
            if none is known in `norm`; or if there is no norm in which all
            layers have a bound.
    """
    wanted = NORMS if norm is None else (check_norm(norm),)
    # The layers without a bound in a norm, by norm.
    without: dict[str, Any] = {}
    for layer in visit_layers(model):
        known = find_norms(layer)
        for name in wanted:
            if name not in known:
                without.setdefault(name, layer)
    for name in wanted:
        if name not in without:
            return name
    listed = ", ".join(
        f"layer '{layer.name}' of type `{type(layer).__name__}` has none in "
        f"{name}"
        for name, layer in without.items()
    )
    raise ValueError(
        "A model is bounded in one norm, in which every layer must have a "
        f"bound: {listed}. Norms cannot be mixed. Received: norm={norm!r}"
    )
