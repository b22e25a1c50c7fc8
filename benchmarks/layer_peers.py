"""Training steps of layers of this library and of others, in the same loop.

Only for PyTorch, for which the other libraries are written. A step calls the
layer, takes the mean square of its outputs, and applies gradients with respect
to the layer's weights and to its inputs. The layers of this library run as the
PyTorch modules that they are on this backend, without `keras.Model.fit`, so
that only the layers differ. All tensors have the order of axes that the layer
expects.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# Peers, with the method of this library to compare them with. Deel-torchlip's
# layer is OSSN, without the size of the image.
PEERS = {
    "torch.nn.Conv2d (plain)": None,
    "deel-torchlip SpectralConv2d": "OSSNConv2D",
    "orthogonium AOLConv2D": "AOLConv2D",
    "orthogonium AdaptiveOrthoConv2d (BCOP)": "BCOPConv2D",
    "orthogonium SDPBasedLipschitzResBlock": "SLLConv2D",
    "orthogonium AdaptiveSOCConv2d, 3 terms": "SOCConv2D, 5 terms",
    "orthogonium legacy Cayley": "CayleyConv2D",
}


def make_pairs(
    make_layer: Callable, images: np.ndarray, kernel_size: int, mode: str
) -> dict[str, Callable]:
    """Returns the steps of the installed peers, and of ours beside them.

    Args:
        make_layer: Function that makes the layer of this library with a name
            of `PEERS`.
        images: Array of shape `(batch_size, height, width, channels)`. The
            layers have as many filters as the images have channels.
        kernel_size: Integer.
        mode: `"circular"` or `"zeros"`. Orthogonium's SLL block has only zero
            padding, and its Cayley layer only circular padding.

    Returns:
        Dict of functions without arguments, by the names of peers and methods.
        Empty without peers, and on other backends than PyTorch.
    """
    if keras.backend.backend() != "torch":
        return {}
    peers = _make_peers(images.shape[-1], kernel_size, mode)
    if len(peers) == 1:
        return {}
    steps = {}
    for name, layer in peers.items():
        steps[name] = _make_step(layer, np.moveaxis(images, -1, 1))
        method = PEERS[name]
        if method is not None:
            ours = make_layer(method)
            ours.build(images.shape)
            steps[method] = _make_step(ours, images, training=True)
    return steps


def format_pairs(times: dict[str, float]) -> str:
    """Returns a table of the peers, each with the method beside it.

    Args:
        times: Dict of milliseconds, with the keys of `make_pairs`.
    """
    rows = [
        ["peer", "ms", "keras_lip", "ms", "ours / theirs"],
        ["---"] * 5,
    ]
    for name, method in PEERS.items():
        if name not in times:
            continue
        row = [name, f"{times[name]:.1f}", "–", "–", "–"]
        if method is not None:
            ratio = times[method] / times[name]
            row[2:] = [method, f"{times[method]:.1f}", f"{ratio:.2f}"]
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _make_peers(channels: int, kernel_size: int, mode: str) -> dict[str, Any]:
    import torch

    shape = (channels, channels, kernel_size)
    padding = {"padding": kernel_size // 2, "padding_mode": mode}
    layers = {"torch.nn.Conv2d (plain)": torch.nn.Conv2d(*shape, **padding)}
    if importlib.util.find_spec("deel"):
        from deel import torchlip

        layers["deel-torchlip SpectralConv2d"] = torchlip.SpectralConv2d(
            *shape, **padding
        )
    if importlib.util.find_spec("orthogonium"):
        from orthogonium.layers.conv.adaptiveSOC import AdaptiveSOCConv2d
        from orthogonium.layers.conv.AOC import AdaptiveOrthoConv2d
        from orthogonium.layers.conv.AOL import AOLConv2D
        from orthogonium.layers.conv.SLL import SDPBasedLipschitzResBlock
        from orthogonium.legacy.cayley_ortho_conv import Cayley

        same = {"padding": "same", "padding_mode": mode}
        layers |= {
            "orthogonium AOLConv2D": AOLConv2D(*shape, **same),
            "orthogonium AdaptiveOrthoConv2d (BCOP)": AdaptiveOrthoConv2d(
                *shape, **same
            ),
            "orthogonium SDPBasedLipschitzResBlock": SDPBasedLipschitzResBlock(
                channels, 1, kernel_size
            ),
            # Three terms, combined in one kernel of 7 x 7.
            "orthogonium AdaptiveSOCConv2d, 3 terms": AdaptiveSOCConv2d(
                *shape, **same
            ),
            "orthogonium legacy Cayley": Cayley(
                *shape, padding=kernel_size // 2
            ),
        }
    return layers


def _make_step(layer: Any, images: np.ndarray, **arguments: Any) -> Callable:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = torch.tensor(np.ascontiguousarray(images), device=device)
    inputs.requires_grad_()
    layer = layer.to(device).train()
    optimizer = torch.optim.SGD(layer.parameters(), 1e-4)

    def step() -> float:
        optimizer.zero_grad()
        inputs.grad = None
        loss = layer(inputs, **arguments).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
