"""The outcome of a conversion from stock layers to Lipschitz layers."""

import dataclasses

import keras


@dataclasses.dataclass(frozen=True)
class ConvertedLayer:
    """What became of one layer, or operation, of a stock model.

    Attributes:
        name: Name of the layer.
        kind: Name of its class.
        action: `"replaced"`, `"kept"`, `"folded"` into the layer before it,
            `"split"` off the layer that it was fused with, `"dropped"`, or
            `"inserted"`.
        counterpart: Name of the class that now does its work, or `"-"`.
        moved: Float or `None`. How far the kernel moved: with the trained
            kernel `W`, what is folded into it included, the kernel `K` that now
            runs and `scale = |W| / |K|`, this is `|W - scale K| / |W|`, all in
            the Frobenius norm. Zero for kernels that are the same up to a
            positive factor.
        scale: Float or `None`. By how much the layer now shrinks its outputs.
        note: String. Anything else that there is to say.
    """

    name: str
    kind: str
    action: str
    counterpart: str
    moved: float | None = None
    scale: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A model of Lipschitz layers, and what it was made of.

    Made by `keras_lip.models.from_keras`.

    Attributes:
        model: The new `keras_lip.models.LipschitzModel`.
        layers: Tuple of `ConvertedLayer`, in the order of the graph.
        scale: Float. Where no kernel moved and all activations are positively
            homogeneous, as ReLU is, the outputs of the stock model are the
            scale times those of the new one.
        lipschitz_bound: Float. Proven bound of the new model, in l2.
    """

    model: keras.Model
    layers: tuple[ConvertedLayer, ...]
    scale: float
    lipschitz_bound: float

    def rows(self) -> list[tuple[str, ...]]:
        """Returns the table of layers, as text, its header first."""
        header = (
            "layer",
            "type",
            "action",
            "now",
            "kernel moved",
            "scale",
            "note",
        )
        table: list[tuple[str, ...]] = [header]
        table += [
            (
                layer.name,
                layer.kind,
                layer.action,
                layer.counterpart,
                "-" if layer.moved is None else f"{layer.moved:.1%}",
                "-" if layer.scale is None else f"{layer.scale:.4g}",
                layer.note,
            )
            for layer in self.layers
        ]
        return table

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rows.insert(1, tuple("-" * width for width in widths))
        table = [
            "  ".join(
                cell.ljust(width)
                for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join(
            [
                f"Conversion of model {self.model.name!r}",
                *table,
                "Old outputs over new ones, but for what moved: "
                f"{self.scale:.4g}",
                f"Lipschitz bound of the new model (l2, proven): "
                f"{self.lipschitz_bound:.8g}",
            ]
        )
