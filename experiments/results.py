"""# Results as a table

    python experiments/results.py runs/*/result.json

prints a Markdown table with a row for each run: the accuracies of the paper and
ours, in percent, and the settings of the run. The pages of `docs/results` have
such rows. With `--published`, a second table has a row for each result of the
paper, with its standard deviation: also accuracies under single attacks and
empirical Lipschitz constants. Ours are then those that `evaluate.py` wrote to
`evaluation/evaluation.json` beside the result, if it did.

    python experiments/results.py --group runs/*/result.json

prints one row for each recipe, with the mean and the standard deviation over
the seeds. Runs form a group if they differ only in the seed: neither in the
recipe, the data, the precision and the machine, nor in the attacks.
"""

import argparse
import json
import pathlib
import statistics

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

# Settings that the runs of a group have in common. Older results lack some.
SETTINGS = (
    "recipe",
    "dataset",
    "part",
    "validation",
    "samples",
    "epochs",
    "dtype_policy",
    "backend",
    "hardware",
    "attack_steps",
    "attacked_samples",
)

# Attacks of `evaluate.py` by results of papers. Papers differ in the loss of
# PGD, so the stronger one of ours counts.
ATTACKS = {
    "pgd": ("PGD", "PGD on the margin"),
    "fgsm": ("FGSM",),
    "autoattack": ("AutoAttack",),
    "boundary": ("boundary",),
    "pointwise": ("pointwise",),
}


def format_row(result, radius=None):
    """Returns one row of the table.

    Args:
        result: Content of a `result.json` of `experiments/train.py`.
        radius: The radius to show, a key of `certified`. Defaults to the first
            radius of the paper, or to the largest radius if there is none.
    """
    cells = describe_run(result, radius or choose_radius(result))
    return f"| {' | '.join(cells.values())} |"


def describe_run(result, radius):
    """Returns the cells of the row of one run, by short names."""
    paper = result["paper"]
    published = paper.get("certified", {})
    theirs = "–"
    if "clean" in paper:
        certified = published.get(radius)
        theirs = f"{_mean(paper['clean']):.2f} / " + (
            "–" if certified is None else f"{_mean(certified):.2f}"
        )
    ours = result["clean"], result["certified"][radius]
    attacked = result["attacked"].get(radius)
    return {
        "recipe": _name_recipe(result),
        "radius": radius,
        "theirs": theirs,
        "ours": " / ".join(f"{100 * value:.2f}" for value in ours),
        "attacked": "–" if attacked is None else f"{100 * attacked:.1f}",
        "bound": f"{result['lipschitz_bound']:.6f}",
        "parameters": f"{result['parameters']:,}",
        "epochs": str(result["epochs"]),
        "seed": str(result["seed"]),
        "minutes": f"{result['seconds'] / 60:.1f}",
        "hardware": f"{result['hardware']}, {result['backend']}",
    }


def group_runs(results):
    """Groups runs that differ only in the seed.

    Returns:
        List of lists of results, in the order of their first runs.

    Raises:
        ValueError: If two runs of a group have the same seed.
    """
    groups = {}
    for result in results:
        key = (
            *(result.get(setting) for setting in SETTINGS),
            tuple(result.get("changes", [])),
            tuple(result["certified"]),
        )
        groups.setdefault(key, []).append(result)
    for group in groups.values():
        seeds = [result["seed"] for result in group]
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"The runs of {group[0]['recipe']!r} must have different "
                f"seeds. Received: seeds {sorted(seeds)}"
            )
    return list(groups.values())


def format_group(group, radius=None):
    """Returns one row for the runs of a group.

    Accuracies are means and sample standard deviations over the seeds. The
    bound is the largest one, and the minutes are a mean.
    """
    first = group[0]
    radius = radius or choose_radius(first)
    cells = describe_run(first, radius)
    certified = [result["certified"][radius] for result in group]
    clean = [result["clean"] for result in group]
    cells["ours"] = f"{format_spread(clean)} / {format_spread(certified)}"
    attacked = [result["attacked"].get(radius) for result in group]
    cells["attacked"] = "–"
    if None not in attacked:
        cells["attacked"] = format_spread(attacked)
    bound = max(result["lipschitz_bound"] for result in group)
    cells["bound"] = f"{bound:.6f}"
    seeds = sorted(result["seed"] for result in group)
    cells["seed"] = ", ".join(map(str, seeds))
    minutes = statistics.fmean(result["seconds"] for result in group) / 60
    cells["minutes"] = f"{minutes:.1f}"
    return f"| {' | '.join(cells.values())} |"


def format_spread(values):
    """Returns a mean and a sample standard deviation, in percent."""
    mean = f"{100 * statistics.fmean(values):.2f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values):.2f}"


def choose_radius(result):
    """Returns the first radius of the paper, or else the largest one."""
    published = result["paper"].get("certified", {})
    return next(iter(published), list(result["certified"])[-1])


def format_table(results, radius=None, group=False):
    """Returns the results as a Markdown table."""
    lines = [_format_titles(TITLES)]
    if group:
        lines += [format_group(runs, radius) for runs in group_runs(results)]
    else:
        lines += [format_row(result, radius) for result in results]
    return "\n".join(lines)


def read_result(path):
    """Reads a result, and the evaluation of its network if there is one.

    Args:
        path: Path of a `result.json`.

    Returns:
        Its content, with the content of `evaluation/evaluation.json` as
        `evaluation`.

    Raises:
        ValueError: If the evaluation is of another network.
    """
    result = json.loads(path.read_text())
    file = path.parent / "evaluation" / "evaluation.json"
    if file.exists():
        evaluation = json.loads(file.read_text())
        if evaluation.get("sha256") != result.get("sha256"):
            raise ValueError(
                f"{file} must be of the network of {path}. Run "
                "`experiments/evaluate.py` again, on the backend of the run. "
                "Received: the digests "
                f"{evaluation.get('sha256')} and {result.get('sha256')}"
            )
        result["evaluation"] = evaluation
    return result


def find_ours(result, measure, radius=None):
    """Returns our number for a published result as text.

    Args:
        result: Content of a `result.json`, with its `evaluation`.
        measure: A key of its `paper`.
        radius: A radius of this measure, if it has radii.
    """
    evaluation = result.get("evaluation", {})
    if measure in ATTACKS:
        found = []
        for title, accuracies in evaluation.get("attacks", {}).items():
            # Attacks that only see decisions have fewer images than others,
            # and their number in the title.
            name, _, images = title.partition(", ")
            if name in ATTACKS[measure]:
                images = images or f"first {evaluation['attacked_samples']}"
                found += [
                    (accuracy, images)
                    for each, accuracy in accuracies.items()
                    if f"{float(each):.4g}" == radius
                ]
        if not found:
            return "–"
        accuracy, images = min(found)
        return f"{100 * accuracy:.2f} ({images})"
    ours = result.get(measure, evaluation.get(measure))
    if radius is not None:
        ours = (ours or {}).get(radius)
    if ours is None:
        return "–"
    is_share = measure != "empirical_lipschitz_constant"
    return f"{100 * ours if is_share else ours:.2f}"


def format_published_row(result, measure, radius=None):
    """Returns the row of one published result.

    Args:
        result: Content of a `result.json`, with its `evaluation`.
        measure: A key of its `paper`.
        radius: A radius of this measure, if it has radii.
    """
    paper = result["paper"][measure]
    if radius is not None:
        paper = paper[radius]
    spread = isinstance(paper, list)
    cells = (
        _name_recipe(result),
        result["dataset"],
        measure.replace("_", " "),
        "–" if radius is None else radius,
        f"{paper[0]:.2f} ± {paper[1]:.2f}" if spread else f"{paper:.2f}",
        find_ours(result, measure, radius),
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
    parser.add_argument(
        "--group",
        action="store_true",
        help="one row for the runs that differ only in the seed",
    )
    parsed = parser.parse_args(arguments)
    try:
        results = [read_result(path) for path in parsed.files]
    except ValueError as error:
        parser.error(str(error))
    for path, result in zip(parsed.files, results, strict=True):
        known = result["certified"]
        if parsed.radius is not None and parsed.radius not in known:
            parser.error(
                f"--radius must be one of {', '.join(known)} in {path}. "
                f"Received: {parsed.radius}"
            )
    try:
        print(format_table(results, parsed.radius, parsed.group))
    except ValueError as error:
        parser.error(str(error))
    if parsed.published:
        print("\n" + format_published_table(results))


if __name__ == "__main__":
    main()
