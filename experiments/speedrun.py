"""# A speedrun of certified accuracy on CIFAR-10

    python experiments/speedrun.py --minutes 60

trains the recipe `speedrun-60` of `recipes.toml` with three seeds. The limit is
60 minutes on two cores, measured as two hours of processor time. Leave the
machine alone: beside other work, threads that wait for each other use more of
it. With `--device gpu`, it is 60 minutes of training with the recipe
`speedrun-gpu-60`. A longer run is not stopped, but marked in the table. The
script audits the networks, certifies them on the whole test set at 36/255,
72/255 and 108/255, and attacks 500 test images. It writes into `--output`

- `60-seed-0/` and so on: the files that `experiments/train.py` writes for a
  run,
- `speedrun.json`, the results of all runs in this folder, `speedrun.md`, their
  tables, and `speedrun.png`, a plot of certified accuracy against minutes.

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
from keras_lip.files import write_json
from keras_lip.files import write_text

TRAIN = pathlib.Path(__file__).with_name("train.py")
CORES = 2
RADII = {"36/255": "0.1412", "72/255": "0.2824", "108/255": "0.4235"}

# Minutes, and published certified accuracies at 36/255 in percent. The second
# line has the best layer of table 9 in https://arxiv.org/abs/2311.16833, of
# seven: CPL after two hours, and SOC after ten and 24.
PUBLISHED = {
    "LiResNet, on a laptop's CPU (A. Bembenek)": [(80.0, 50.8)],
    "best of 7 layers on an A100 (Prach et al., 2024)": [
        (120.0, 61.6),
        (600.0, 66.0),
        (1440.0, 66.3),
    ],
}


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Measure certified accuracy on CIFAR-10 against time."
    )
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("runs/speedrun")
    )
    parsed, others = parser.parse_known_args(arguments)
    # Other arguments are passed to `train.py`. An unknown recipe or data set
    # raises an error here.
    load_recipe(f"speedrun-{name_race(parsed)}", parsed.dataset, FILE)
    return parsed, others


def name_race(parsed):
    """Returns the name of a race: `"60"`, or `"gpu-60"` on a GPU."""
    return "gpu-" * (parsed.device == "gpu") + str(parsed.minutes)


def train(parsed, seed, others):
    """Trains and certifies a network, or resumes its run."""
    race = name_race(parsed)
    folder = parsed.output / f"{race}-seed-{seed}"
    if (folder / "result.json").exists():
        print(f"{folder} is done.")
        return
    command = [sys.executable, str(TRAIN)]
    command += ["--recipe", f"speedrun-{race}", "--resume"]
    command += ["--dataset", parsed.dataset, "--seed", str(seed)]
    command += ["--output", str(folder), *others]
    if subprocess.run(command).returncode:
        raise SystemExit(f"The run in {folder} failed. Run again to resume.")


def read_results(folder):
    """Returns the results of all runs, by the name of their race.

    Args:
        folder: Path.

    Returns:
        Dict from names to lists of dicts, first on CPUs, then on GPUs, and by
        increasing limit.
    """
    found = {}
    for path in sorted(folder.glob("*-seed-*/result.json")):
        race = path.parent.name.split("-seed-")[0]
        result = json.loads(path.read_text())
        # It names folders of the machine.
        result.pop("command", None)
        found.setdefault(race, []).append(result)
    names = sorted(found, key=lambda name: (is_gpu(name), limit_of(name)))
    return {name: found[name] for name in names}


def is_gpu(race):
    """Returns whether a race is on a GPU."""
    return race.startswith("gpu-")


def limit_of(race):
    """Returns the limit of a race in minutes."""
    return int(race.removeprefix("gpu-"))


def count_minutes(race, result):
    """Returns the minutes of a training that count in a race."""
    if is_gpu(race):
        return result["seconds"] / 60
    return result["cpu_seconds"] / 60 / CORES


def format_share(values):
    """Returns the mean and standard deviation of fractions, in percent."""
    mean = 100 * statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {100 * statistics.stdev(values):.2f}"


def format_row(race, results):
    """Returns a row of the table, for all seeds of one race."""
    longest = max(count_minutes(race, result) for result in results)
    took = f"{longest:.1f}" + (" (over)" if longest > limit_of(race) else "")
    gaps = [
        result["margin_bound"] / result["margin_estimate"] - 1
        for result in results
        if result["margin_estimate"]
    ]
    cells = (
        race,
        took,
        str(len(results)),
        f"{results[0]['parameters']:,}",
        format_share([result["clean"] for result in results]),
        *(
            format_share([result["certified"][key] for result in results])
            for key in RADII.values()
        ),
        f"{100 * max(gaps):.2f} %" if gaps else "–",
        f"{results[0]['hardware']}, {results[0]['backend']}",
    )
    return f"| {' | '.join(cells)} |"


def format_attacked(result):
    """Returns the accuracy under attack at 36/255, and what attacked it."""
    accuracy = result["attacked"].get(RADII["36/255"])
    if accuracy is None:
        return "–"
    if "attack_steps" not in result:
        return f"{100 * accuracy:.2f} (settings not recorded)"
    return (
        f"{100 * accuracy:.2f} ({result['attacked_samples']} images, "
        f"{result['attack_steps']} steps)"
    )


def format_seed(race, result):
    """Returns a row of the table of single runs."""
    cells = (
        race,
        str(result["seed"]),
        f"{count_minutes(race, result):.1f}",
        f"{result['seconds'] / 60:.1f}",
        f"{100 * result['clean']:.2f}",
        *(f"{100 * result['certified'][key]:.2f}" for key in RADII.values()),
        format_attacked(result),
        f"{result['lipschitz_bound']:.4g}",
        f"`{result['sha256'][:12]}`",
    )
    return f"| {' | '.join(cells)} |"


def format_table(titles, rows):
    """Returns the lines of a Markdown table."""
    return [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles), *rows]


def format_page(found):
    """Returns the Markdown of all races and runs."""
    accuracies = "clean", *(f"certified {name}" for name in RADII)
    races = (
        "race",
        "longest training, minutes",
        "seeds",
        "parameters",
        *accuracies,
        "proven over estimated constant",
        "hardware",
    )
    runs = (
        "race",
        "seed",
        "minutes",
        "by the clock",
        *accuracies,
        "attacked 36/255",
        "Lipschitz bound",
        "SHA-256 of the network",
    )
    lines = [
        "Accuracies on the test set in percent, mean and standard deviation",
        "over seeds. Certificates use proven constants, and the loss uses",
        "estimates. The last column but one shows by how much the proven",
        "constants are larger. On CPUs a minute is one of two cores, measured",
        "as two minutes of processor time.",
        "",
        *format_table(
            races,
            [format_row(race, results) for race, results in found.items()],
        ),
        "",
        "Each run:",
        "",
        *format_table(
            runs,
            [
                format_seed(race, result)
                for race, results in found.items()
                for result in results
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def draw(found, path):
    """Plots certified accuracy against minutes of training."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    ticks = set()
    for number, (name, key) in enumerate(RADII.items()):
        for device, style in ("two cores", "-"), ("GPU", "--"):
            races = {
                race: results
                for race, results in found.items()
                if is_gpu(race) == (device == "GPU")
            }
            if not races:
                continue
            ticks |= {limit_of(race) for race in races}
            minutes = [
                [count_minutes(race, result) for result in results]
                for race, results in races.items()
            ]
            certified = [
                [100 * result["certified"][key] for result in results]
                for results in races.values()
            ]
            axes.plot(
                [statistics.fmean(values) for values in minutes],
                [statistics.fmean(values) for values in certified],
                f"{style}o",
                color=f"C{number}",
                label=f"{name}, {device}",
            )
            axes.plot(
                sum(minutes, []),
                sum(certified, []),
                "o",
                color=f"C{number}",
                alpha=0.4,
            )
    for (name, points), mark in zip(PUBLISHED.items(), "*^", strict=True):
        axes.plot(
            *zip(*points, strict=True), f"k:{mark}", label=f"36/255, {name}"
        )
        ticks |= {round(minutes) for minutes, _ in points}
    axes.set_xscale("log")
    axes.set_xticks(sorted(ticks), map(str, sorted(ticks)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("certified accuracy on CIFAR-10 in percent")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    replace_file(path, lambda file: figure.savefig(file, dpi=150))


def main(arguments=None):
    """Runs the speedrun and writes its table and plot."""
    parsed, others = parse_arguments(arguments)
    for seed in parsed.seeds:
        train(parsed, seed, others)
        found = read_results(parsed.output)
        write_json(parsed.output / "speedrun.json", found)
        write_text(parsed.output / "speedrun.md", format_page(found))
        draw(found, parsed.output / "speedrun.png")
    print(format_page(found))


if __name__ == "__main__":
    main()
