"""The result of a conversion from stock layers to Lipschitz layers."""

import dataclasses

import keras


@dataclasses.dataclass(frozen=True)
class ConvertedLayer:
    """The conversion of one layer or operation of a stock model.

    Attributes:
        name: Name of the layer.
        kind: Name of its class.
        action: `"replaced"`, `"kept"`, `"folded"` into the layer before it,
            `"split"` off the layer that it was fused with, `"dropped"`, or
            `"inserted"`.
        counterpart: Name of the class that replaces it, or `"-"`.
        moved: Float or `None`. Relative change of the kernel, `|W - scale K| /
            |W|` in the Frobenius norm. `W` is the trained kernel, including a
            folded normalization, `K` the kernel of the new layer, and `scale =
            |W| / |K|`. It is zero if `K` is a positive multiple of `W`.
        scale: Float or `None`. Factor by which the new layer's outputs are
            smaller.
        note: String. Further remarks.
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
    """A model of Lipschitz layers, and a table of its conversion.

    `keras_lip.models.from_keras` returns it.

    Attributes:
        model: The new `keras_lip.models.LipschitzModel`.
        layers: Tuple of `ConvertedLayer`, in the order of the graph.
        scale: Float. If no kernel changed by more than a factor and all
            activations are positively homogeneous (such as ReLU), the outputs
            of the stock model are `scale` times the outputs of the new one.
        lipschitz_bound: Float. Proven bound of the new model, in l2.
    """

    model: keras.Model
    layers: tuple[ConvertedLayer, ...]
    scale: float
    lipschitz_bound: float

    def rows(self) -> list[tuple[str, ...]]:
        """Returns the table of layers as text, starting with the header."""
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
                "Old outputs divided by new ones, up to changes of the "
                f"kernels: {self.scale:.4g}",
                f"Lipschitz bound of the new model (l2, proven): "
                f"{self.lipschitz_bound:.8g}",
            ]
        )
