"""# A speedrun of certified accuracy on CIFAR-10

    python experiments/speedrun.py --minutes 60

trains the recipe `speedrun-60` of `recipes.toml` with three seeds. The recipe
should train within 60 minutes on two cores. A longer run is not stopped, but
marked in the table. The script audits the networks, certifies them on the whole
test set at 36/255, 72/255 and 108/255, and attacks 500 test images. It writes
into `--output`

- `60-seed-0/` and so on: the files that `experiments/train.py` writes for a
  run,
- `speedrun.md`, a table of all runs in this folder, and `speedrun.png`, a plot
  of certified accuracy against minutes.

An interrupted run resumes after its last epoch. To take part, change the recipe
or add your own. Make all choices on `--validation 5000` images of the training
set, and use the test set only once.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from recipes import FILE
from recipes import load_recipe

from keras_lip.files import replace_file
from keras_lip.files import write_text

TRAIN = pathlib.Path(__file__).with_name("train.py")
PREFIX = "speedrun-"
RADII = {"36/255": "0.1412", "72/255": "0.2824", "108/255": "0.4235"}

# Minutes, and published certified accuracies at 36/255 in percent.
PUBLISHED = {
    "LiResNet, width 64, on a laptop's CPU (A. Bembenek)": (80.0, 50.8),
}


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Measure certified accuracy on CIFAR-10 against time."
    )
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("runs/speedrun")
    )
    parsed, others = parser.parse_known_args(arguments)
    # Other arguments are passed to `train.py`. An unknown recipe or data set
    # raises an error here.
    load_recipe(f"{PREFIX}{parsed.minutes}", parsed.dataset, FILE)
    return parsed, others


def train(parsed, seed, others):
    """Trains and certifies a network, or resumes its run."""
    folder = parsed.output / f"{parsed.minutes}-seed-{seed}"
    if (folder / "result.json").exists():
        print(f"{folder} is done.")
        return
    command = [sys.executable, str(TRAIN)]
    command += ["--recipe", f"{PREFIX}{parsed.minutes}", "--resume"]
    command += ["--dataset", parsed.dataset, "--seed", str(seed)]
    command += ["--output", str(folder), *others]
    if subprocess.run(command).returncode:
        raise SystemExit(f"The run in {folder} failed. Run again to resume.")


def read_results(folder):
    """Returns the results of all runs, by their limit in minutes.

    Args:
        folder: Path.

    Returns:
        Dict from the minutes, in increasing order, to lists of dicts.
    """
    found = {}
    for path in sorted(folder.glob("*-seed-*/result.json")):
        minutes = int(path.parent.name.split("-")[0])
        found.setdefault(minutes, []).append(json.loads(path.read_text()))
    return dict(sorted(found.items()))


def format_share(values):
    """Returns the mean and standard deviation of fractions, in percent."""
    mean = 100 * statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {100 * statistics.stdev(values):.2f}"


def format_row(minutes, results):
    """Returns a row of the table, for all seeds of one limit."""
    longest = max(result["seconds"] for result in results) / 60
    took = f"{longest:.1f}" + (" (over)" if longest > minutes else "")
    gaps = [
        result["margin_bound"] / result["margin_estimate"] - 1
        for result in results
        if result["margin_estimate"]
    ]
    radius = RADII["36/255"]
    cells = (
        str(minutes),
        took,
        str(len(results)),
        f"{results[0]['parameters']:,}",
        format_share([result["clean"] for result in results]),
        *(
            format_share([result["certified"][key] for result in results])
            for key in RADII.values()
        ),
        format_share(
            [result["attacked"].get(radius, float("nan")) for result in results]
        ),
        f"{100 * max(gaps):.2f} %" if gaps else "–",
        f"{results[0]['hardware']}, {results[0]['backend']}",
    )
    return f"| {' | '.join(cells)} |"


def format_page(found):
    """Returns the Markdown page of the speedrun."""
    titles = (
        "minutes",
        "longest training, minutes",
        "seeds",
        "parameters",
        "clean",
        *(f"certified {name}" for name in RADII),
        "attacked 36/255, 500 images",
        "proven over estimated constant",
        "hardware",
    )
    lines = [
        "# Certified accuracy on CIFAR-10 against time",
        "",
        "Accuracies on the test set in percent, mean and standard deviation",
        "over seeds. Certificates use proven constants, and the loss uses",
        "estimates. The last column but one shows by how much the proven",
        "constants are larger.",
        "",
        f"| {' | '.join(titles)} |",
        "|" + "---|" * len(titles),
        *(format_row(minutes, results) for minutes, results in found.items()),
        "",
        "![Certified accuracy against minutes](speedrun.png)",
    ]
    return "\n".join(lines) + "\n"


def draw(found, path):
    """Plots certified accuracy against minutes of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, key in RADII.items():
        points = [
            (result["seconds"] / 60, 100 * result["certified"][key])
            for results in found.values()
            for result in results
        ]
        means = [
            (
                statistics.fmean(r["seconds"] / 60 for r in results),
                100 * statistics.fmean(r["certified"][key] for r in results),
            )
            for results in found.values()
        ]
        (line,) = axes.plot(*zip(*means, strict=True), label=f"ours, {name}")
        axes.plot(
            *zip(*points, strict=True), "o", color=line.get_color(), alpha=0.6
        )
    for name, (minutes, certified) in PUBLISHED.items():
        axes.plot(minutes, certified, "k*", label=f"{name}, 36/255")
    axes.set_xscale("log")
    axes.set_xlabel("Minutes of training")
    axes.set_ylabel("Certified accuracy in percent")
    axes.legend(fontsize="small")
    replace_file(path, lambda file: figure.savefig(file, dpi=150))


def main(arguments=None):
    """Runs the speedrun and writes its table and plot."""
    parsed, others = parse_arguments(arguments)
    for seed in parsed.seeds:
        train(parsed, seed, others)
        found = read_results(parsed.output)
        write_text(parsed.output / "speedrun.md", format_page(found))
        draw(found, parsed.output / "speedrun.png")
    print(format_page(found))


if __name__ == "__main__":
    main()
