"""# Results as a table

    python experiments/results.py runs/*/result.json

prints a Markdown table with a row for each run: the accuracies of the paper and
ours, in percent, and the settings of the run. `RESULTS.md` contains such rows.
"""

import argparse
import json
import pathlib

TITLES = (
    "recipe",
    "radius (l2)",
    "paper: clean / certified",
    "ours: clean / certified",
    "attacked",
    "bound",
    "parameters",
    "epochs",
    "seed",
    "minutes",
    "hardware",
)


def format_row(result, radius=None):
    """Returns one row of the table.

    Args:
        result: Content of a `result.json` of `experiments/train.py`.
        radius: The radius to show, a key of `certified`. Defaults to the first
            radius of the paper, or to the largest radius if there is none.
    """
    paper = result["paper"]
    published = paper.get("certified", {})
    radius = radius or next(iter(published), list(result["certified"])[-1])
    theirs = "–"
    if "clean" in paper:
        certified = published.get(radius)
        theirs = f"{paper['clean']:.2f} / " + (
            "–" if certified is None else f"{certified:.2f}"
        )
    ours = result["clean"], result["certified"][radius]
    attacked = result["attacked"].get(radius)
    recipe = " ".join([result["recipe"], *result.get("changes", [])])
    cells = (
        f"`{recipe}`",
        radius,
        theirs,
        " / ".join(f"{100 * value:.2f}" for value in ours),
        "–" if attacked is None else f"{100 * attacked:.1f}",
        f"{result['lipschitz_bound']:.6f}",
        f"{result['parameters']:,}",
        str(result["epochs"]),
        str(result["seed"]),
        f"{result['seconds'] / 60:.1f}",
        f"{result['hardware']}, {result['backend']}",
    )
    return f"| {' | '.join(cells)} |"


def format_table(results, radius=None):
    """Returns the results as a Markdown table."""
    lines = [f"| {' | '.join(TITLES)} |", "|" + "---|" * len(TITLES)]
    lines += [format_row(result, radius) for result in results]
    return "\n".join(lines)


def main(arguments=None):
    """Prints the table of the given files."""
    parser = argparse.ArgumentParser(description="Print results as a table.")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument(
        "--radius",
        help="radius to show (default: the paper's, or else the largest)",
    )
    parsed = parser.parse_args(arguments)
    results = [json.loads(path.read_text()) for path in parsed.files]
    for path, result in zip(parsed.files, results, strict=True):
        known = result["certified"]
        if parsed.radius is not None and parsed.radius not in known:
            parser.error(
                f"--radius must be one of {', '.join(known)} in {path}. "
                f"Received: {parsed.radius}"
            )
    print(format_table(results, parsed.radius))


if __name__ == "__main__":
    main()
