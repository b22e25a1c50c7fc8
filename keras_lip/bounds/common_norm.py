"""The norm that all layers of a model have a bound in."""

from typing import Any

from keras_lip.model_layers import visit_layers
from keras_lip.program.freezing.registry import find_norms
from keras_lip.proofs.norms import NORMS
from keras_lip.proofs.norms import check_norm


def common_norm(model: Any, norm: str | None = None) -> str:
    """Returns the norm that a model is bounded in.

    Args:
        model: A layer, or a model; of one that is not built, the layers that it
            lists are asked. No weight is looked at.
        norm: `"l2"`, `"linf"`, or `None` for the norm that the guarantees of
            all layers hold in, l2 where they hold in both.

    Returns:
        `"l2"` or `"linf"`.

    Raises:
        ValueError: If no bound of a layer is known, naming it; if none is known
            in `norm`; or if there is no norm that all layers have a bound in.
    """
    wanted = NORMS if norm is None else (check_norm(norm),)
    # The layers that leave a norm out, by norm.
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
