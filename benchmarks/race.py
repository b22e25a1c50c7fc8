"""Compares how fast and how well libraries train a certified network.

    python benchmarks/race.py --output benchmarks/results/race.md

trains the network "Small" (Li et al., 2019) on MNIST with BCOP, RKO and SLL
blocks: with this library on each backend, with deel-torchlip and with
orthogonium (extra `benchmarks`). All use the same data in the same order, the
same loss, and Adam with the same learning rate. Each library uses its own
initialization and constraints.

Each contestant runs in its own process. The contestants of a block take turns,
one epoch each, so that other load on the machine affects all of them equally.
Ratios are relative to the first other library that took part in the same
rounds, or to the first contestant if there was none. After training, the
inference of each network is copied into a network of layers that this library
can bound. The copy is compared with the original and certified. All contestants
are certified with the same proof, so no library's own claim is trusted.
Building the network and its first step, which compiles, are timed separately.
Memory is the peak above the memory that the process used before it built its
network. Each backend uses its default number of threads.

A JSON file is written next to the Markdown table. A later run reads it with
`--before` and prints the seconds of both. The row of a contestant that did not
run states the reason.
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import keras
import numpy as np
import race_peers
from race_table import EPSILONS
from race_table import format_table
from race_table import summarize

import keras_lip as kl

BACKENDS = ("tensorflow", "jax", "torch")
BLOCKS = ("bcop", "rko", "sll")
WORKER = pathlib.Path(__file__).with_name("race_worker.py")


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A library on a backend, with a block.

    Attributes:
        library: `"keras_lip"`, or a key of `race_peers.PACKAGES`.
        backend: Name of the backend.
        block: Name of a method.
    """

    library: str
    backend: str
    block: str

    @property
    def name(self):
        """Name of the contestant in tables."""
        if self.library == "keras_lip":
            return f"keras_lip, {self.backend}"
        return self.library

    def find_obstacle(self):
        """Returns the reason why it does not take part, or `None`."""
        if self.library != "keras_lip":
            if self.block not in race_peers.BLOCKS[self.library]:
                return f"{self.library} has no such block"
            if importlib.util.find_spec(race_peers.PACKAGES[self.library]):
                return self._find_missing_backend()
            return f"{self.library} is not installed"
        return self._find_missing_backend()

    def _find_missing_backend(self):
        if importlib.util.find_spec(self.backend) is None:
            return f"{self.backend} is not installed"
        return None


class Runner:
    """The process of a contestant.

    Args:
        contestant: A `Contestant`.
        spec: Dict of settings.
    """

    def __init__(self, contestant, spec):
        self.contestant = contestant
        self.result = {
            "name": contestant.name,
            "block": contestant.block,
            "obstacle": contestant.find_obstacle(),
            "epochs": [],
        }
        self.process = None
        if self.result["obstacle"] is None:
            environment = {
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **os.environ,
                "KERAS_BACKEND": contestant.backend,
            }
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER), json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                text=True,
            )

    def ask(self, command):
        """Sends a command to the process and stores the answer."""
        if self.process is None:
            return
        try:
            self.process.stdin.write(f"{command}\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.stop()
            failed = f"failed at {command!r}: see its output above"
            self.result["obstacle"] = failed
            return
        if "epoch" in answer:
            self.result["epochs"].append(answer.pop("epoch"))
        self.result.update(answer)

    def stop(self):
        """Ends the process."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.kill()
            self.process.wait()
            self.process = None


def list_contestants(block, backends):
    """Returns the contestants for a block."""
    own = [Contestant("keras_lip", backend, block) for backend in backends]
    peers = [
        Contestant(library, "torch", block) for library in race_peers.PACKAGES
    ]
    return [*own, *peers]


def race_block(block, arguments, folder, shape):
    """Runs all contestants of a block and returns their results."""
    runners = []
    for number, one in enumerate(list_contestants(block, arguments.backends)):
        spec = {
            **dataclasses.asdict(one),
            "shape": shape,
            "width": arguments.width,
            "units": arguments.units,
            "batch_size": arguments.batch_size,
            "seed": arguments.seed,
            "data": str(folder / "data.npz"),
            "copy": str(folder / f"{block}_{number}.keras"),
        }
        runners.append((Runner(one, spec), spec["copy"]))
    # One at a time: waiting contestants do not compute.
    for runner, _ in runners:
        runner.ask("start")
    for epoch in range(arguments.epochs):
        turn = epoch % len(runners)
        for runner, _ in [*runners[turn:], *runners[:turn]]:
            runner.ask(f"epoch {epoch}")
    results = []
    for runner, copy in runners:
        runner.ask("finish")
        if runner.result["obstacle"] is None:
            runner.result.update(certify(copy, folder))
        runner.stop()
        results.append(runner.result)
        print(format_line(runner.result), flush=True)
    return results


def certify(path, folder):
    """Proves the bound and the certified accuracy of a saved network."""
    with np.load(folder / "data.npz") as arrays:
        x, y = arrays["x_test"], arrays["y_test"]
    model = keras.models.load_model(path)
    report = kl.certificates.certify(model, x, y, EPSILONS)
    return {
        "clean": 100 * report.accuracy,
        "certified_accuracies": {
            str(epsilon): 100 * report.certified_accuracy(epsilon)
            for epsilon in EPSILONS
        },
        "bound": report.lipschitz_bound,
    }


def format_line(result):
    """Returns the progress of one contestant as a line."""
    text = result["obstacle"] or f"{sum(result['epochs']):.1f} s of training"
    return f"{result['block']}, {result['name']}: {text}"


def load_mnist(data_dir, samples=None):
    """Returns the training and test data as arrays."""
    experiments = pathlib.Path(__file__).parents[1] / "experiments"
    sys.path.append(str(experiments))
    from image_data import load_images
    from image_data import scale_images

    (x, y), (x_test, y_test) = load_images("mnist", data_dir)
    return {
        "x": scale_images(x[:samples]),
        "y": y[:samples],
        "x_test": scale_images(x_test),
        "y_test": y_test,
    }


def make_images(number, side, seed):
    """Returns random images around one image per class, instead of MNIST."""
    rng = np.random.default_rng(seed)
    centers = rng.random((race_peers.CLASSES, side, side, 1))
    parts = {}
    for ending in ("", "_test"):
        labels = rng.integers(0, race_peers.CLASSES, number)
        noise = 0.1 * rng.normal(size=(number, side, side, 1))
        parts[f"x{ending}"] = (centers[labels] + noise).astype("float32")
        parts[f"y{ending}"] = labels.astype("int64")
    return parts


def describe_versions():
    """Returns the installed versions and the number of cores."""
    found = []
    for name in ("keras", *BACKENDS, *race_peers.PACKAGES):
        # TensorFlow is one module, but several packages.
        for package in (name, f"{name}-cpu"):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found.append(f"{name} {importlib.metadata.version(package)}")
                break
    python, cores = platform.python_version(), len(os.sched_getaffinity(0))
    return f"{', '.join(found)}, Python {python}, {cores} cores"


def parse_arguments(arguments=None):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", nargs="+", choices=BLOCKS)
    parser.add_argument(
        "--backends", nargs="+", choices=BACKENDS, default=BACKENDS
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir")
    parser.add_argument(
        "--samples", type=int, help="number of training images (default: all)"
    )
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument(
        "--before",
        type=pathlib.Path,
        help="JSON file of an earlier run, whose seconds are also printed",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="train a small network with one block on random images",
    )
    found = parser.parse_args(arguments)
    if found.smoke:
        found.epochs, found.batch_size = 1, 8
        found.width, found.units = 2, 8
    if found.blocks is None:
        found.blocks = BLOCKS if not found.smoke else ["rko"]
    return found


def main(arguments=None):
    """Runs the race, prints the table and writes it."""
    arguments = parse_arguments(arguments)
    if arguments.smoke:
        data = make_images(24, 8, arguments.seed)
    else:
        data = load_mnist(arguments.data_dir, arguments.samples)
    shape = data["x"].shape[1:]
    before = []
    if arguments.before is not None:
        before = json.loads(arguments.before.read_text())["results"]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.savez(folder / "data.npz", **data)
        for block in arguments.blocks:
            found = race_block(block, arguments, folder, shape)
            summarize(found)
            results += found
    title = (
        f"SmallConvNet, {arguments.epochs} epochs of {len(data['x'])} images "
        f"in batches of {arguments.batch_size}, medians of epochs; "
        f"{describe_versions()}"
    )
    text = f"{title}\n\n{format_table(results, before)}\n"
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text)
        report = {"title": title, "results": results}
        path = arguments.output.with_suffix(".json")
        path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
