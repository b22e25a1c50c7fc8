"""# Results as a table

    python experiments/results.py runs/*/result.json

prints a Markdown table with a row for each run: the accuracies of the paper and
ours, in percent, and the settings of the run. `RESULTS.md` contains such rows.
With `--published`, a second table has a row for each result of the paper, with
its standard deviation: also accuracies under attacks, which `train.py` does not
measure, and empirical Lipschitz constants.
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

PUBLISHED_TITLES = ("recipe", "data set", "result", "radius", "paper", "ours")


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
        theirs = f"{_mean(paper['clean']):.2f} / " + (
            "–" if certified is None else f"{_mean(certified):.2f}"
        )
    ours = result["clean"], result["certified"][radius]
    attacked = result["attacked"].get(radius)
    cells = (
        _name_recipe(result),
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
    lines = [_format_titles(TITLES)]
    lines += [format_row(result, radius) for result in results]
    return "\n".join(lines)


def format_published_row(result, measure, radius=None):
    """Returns the row of one published result.

    Args:
        result: Content of a `result.json`.
        measure: A key of its `paper`.
        radius: A radius of this measure, if it has radii.
    """
    paper, ours = result["paper"][measure], result.get(measure)
    if radius is not None:
        paper, ours = paper[radius], (ours or {}).get(radius)
    spread = isinstance(paper, list)
    cells = (
        _name_recipe(result),
        result["dataset"],
        measure.replace("_", " "),
        "–" if radius is None else radius,
        f"{paper[0]:.2f} ± {paper[1]:.2f}" if spread else f"{paper:.2f}",
        "–" if ours is None else f"{100 * ours:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def format_published_table(results):
    """Returns all results of the papers, beside ours where there are some."""
    lines = [_format_titles(PUBLISHED_TITLES)]
    for result in results:
        for measure, values in result["paper"].items():
            radii = values if isinstance(values, dict) else [None]
            lines += [
                format_published_row(result, measure, radius)
                for radius in radii
            ]
    return "\n".join(lines)


def _format_titles(titles):
    return f"| {' | '.join(titles)} |\n|" + "---|" * len(titles)


def _name_recipe(result):
    return f"`{' '.join([result['recipe'], *result.get('changes', [])])}`"


def _mean(value):
    """Returns a published number, or the mean of `[mean, deviation]`."""
    return value[0] if isinstance(value, list) else value


def main(arguments=None):
    """Prints the table of the given files."""
    parser = argparse.ArgumentParser(description="Print results as a table.")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument(
        "--radius",
        help="radius to show (default: the paper's, or else the largest)",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="print a second table with all results of the papers",
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
    if parsed.published:
        print("\n" + format_published_table(results))


if __name__ == "__main__":
    main()
