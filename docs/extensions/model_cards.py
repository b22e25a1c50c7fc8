"""Writes a model card for each file of published weights."""

import json
import pathlib
from typing import Any


def write_card(entry: Any, folder: pathlib.Path) -> str:
    """Returns the card of published weights.

    Args:
        entry: A `keras_lip.applications.PublishedWeights`.
        folder: Path of the folder with the weights and their report.

    Returns:
        String in Markdown: what the network is, what is certified and attacked,
        and the audit.
    """
    stem = entry.file.removesuffix(".weights.h5")
    report = json.loads((folder / f"{stem}.report.json").read_text("utf-8"))
    audit = report["audit"]
    rows = {
        "trained on": f"`{entry.dataset}`, pixels in [0, 1]",
        "command": (
            f"`python experiments/train.py --recipe {entry.recipe} --dataset "
            f"{entry.dataset}`"
        ),
        "file": f"{entry.num_bytes:,} bytes, in the package",
        "SHA-256": f"`{entry.sha256}`",
        "license": entry.license,
        "certified with": (
            f"keras_lip {report['keras_lip_version']}, Keras "
            f"{audit['keras_version']}, backend {audit['backend']}"
        ),
    }
    call = f"{entry.application}(weights={entry.name!r})".replace("'", '"')
    parts = [
        f"# `{call}`",
        entry.description,
        f"```python\nmodel = kl.applications.{call}\n```",
        _table(("", ""), rows.items()),
        "## What is certified",
        _accuracies(entry, report),
        f"Of {report['num_samples']:,} test images, with the bounds of the "
        "audit below. Attacks are PGD, DeepFool and DDN, and only on the first "
        "images, so certified shares of all images may be larger.",
        "## Audit",
        f"Bound of the whole network: {audit['lipschitz_bound']:.6g} (l2). A "
        "radius divides the margin of two classes by the bound of this margin, "
        "not by the bound of the network.",
        _table(
            ("layer", "bound", "proven by"),
            (
                (layer["kind"], f"{layer['bound']:.7g}", layer["method"])
                for layer in audit["layers"]
            ),
        ),
        "It assumes:",
        "\n".join(f"- {each}" for each in audit["assumptions"]),
    ]
    return "\n\n".join(parts) + "\n"


def _accuracies(entry: Any, report: dict[str, Any]) -> str:
    # Radii of the catalogue are rounded as this format rounds them.
    attacks = {f"{each['epsilon']:.4g}": each for each in report["attacks"]}
    rows = [("clean", f"{entry.accuracy:.2%}", "")]
    for radius, accuracy in entry.certified_accuracy.items():
        attack = attacks.get(f"{radius:.4g}")
        attacked = "" if attack is None else f"{attack['accuracy']:.1%}"
        rows.append((f"{radius:g}", f"{accuracy:.2%}", attacked))
    names = {each["attack"] for each in report["attacks"]}
    (name,) = names or {"attacked"}
    return _table(("l2 radius", "certified", name), rows)


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
