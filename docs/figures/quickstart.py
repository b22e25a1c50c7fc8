"""Draws certified and attacked accuracy of the quick start.

    python docs/figures/quickstart.py docs/data/quickstart.json FIGURE

The numbers are the `report.json` of `examples/quickstart.py`.
"""

import json
import pathlib
import sys

from matplotlib.figure import Figure

MARKS = {"attacked": "o", "ordinary twin, attacked": "x"}


def draw(results, path):
    """Draws the curve of the certificate, and the points of the attacks.

    Args:
        results: Dict, as `CertificationReport.to_json` writes it.
        path: Path of the picture.
    """
    correct = [
        radius
        for radius, prediction, label in zip(
            results["radius"],
            results["prediction"],
            results["label"],
            strict=True,
        )
        if prediction == label
    ]
    # The certified accuracy falls by a step at the radius of each sample.
    number = len(results["radius"])
    radii = [0.0, *sorted(correct)]
    accuracies = [(len(correct) - i) / number for i in range(len(radii))]
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.step(
        radii,
        accuracies,
        where="post",
        linewidth=2.5,
        label="certified: no attack can fall below",
    )
    for title, mark in MARKS.items():
        points = [
            (0.0, results["clean"][title]),
            *(
                (row["epsilon"], row["accuracy"])
                for row in results["attacks"]
                if row["attack"] == title
            ),
        ]
        axes.plot(
            *zip(*sorted(points), strict=True),
            marker=mark,
            linestyle=":",
            label=title,
        )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1)
    axes.set_xlabel("l2 radius of the perturbation, pixels in [0, 1]")
    axes.set_ylabel("accuracy on held-out digits")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    data, figure = map(pathlib.Path, sys.argv[1:])
    draw(json.loads(data.read_text("utf-8")), figure)
