"""Measures the cost of certificates of whole networks.

    KERAS_BACKEND=tensorflow python benchmarks/certificates.py

runs every operation of a table twice, in the order of the table: the first
time, with compilation, and again, when the weights have not changed. The model
"live" has its constraints, and "fixed" is the result of `kl.models.fix_steps`,
which comes after it and shares its proofs.
What an operation cannot go below are the rows "float64 pass", which computes
the outputs in the arithmetic of certificates, but without error bounds, and
"predict of the stock copy". Proofs and constrained kernels of a network are not
shared with the networks before it.
"""

import argparse
import pathlib
import time

import keras
import numpy as np
from timing import describe_run
from timing import keep_memory

import keras_lip as kl
from keras_lip.program import freeze

IMAGES = 64
COLUMNS = ("live, first", "live, again", "fixed, first", "fixed, again")


def make_networks():
    """Returns functions that create a network, by name."""
    apps = kl.applications
    return {
        "SmallConvNet": lambda: apps.SmallConvNet((32, 32, 3)),
        "ConvexPotentialNet S": lambda: apps.ConvexPotentialNet("S"),
        "LipConvNet-15, SOC": lambda: apps.LipConvNet(15),
    }


def measure_network(model, x):
    """Returns the seconds of each operation, as `{operation: [seconds]}`."""
    times = {}
    certificates = kl.certificates
    y = np.arange(len(x)) % model.output_shape[-1]

    def measure(name, function, *arguments, **keywords):
        row = times.setdefault(name, [])
        for _ in range(2):
            start = time.perf_counter()
            result = function(*arguments, **keywords)
            row.append(time.perf_counter() - start)
        return result

    def measure_model(model, report):
        measure("float64 pass", freeze(model).run, x)
        measure("radii", certificates.certified_radius, model, x)
        measure(
            "certify with the audit",
            certificates.certify,
            model,
            x,
            y,
            audit=report,
        )
        measure("predict", model.predict, x, verbose=0)

    report = measure("audit", certificates.audit, model, steps=None)
    fixed = measure("fix_steps", kl.models.fix_steps, model)
    times["fix_steps"] += [None, None]
    measure_model(model, report)
    measure_model(
        fixed, measure("audit", certificates.audit, fixed, steps=None)
    )
    stock = kl.models.materialize(fixed)
    times["predict of the stock copy"] = [None, None]
    measure("predict of the stock copy", stock.predict, x, verbose=0)
    return times


def format_network(name, times):
    """Returns the table of a network."""
    lines = [
        f"| {name}, s | {' | '.join(COLUMNS)} |",
        "|" + "---|" * (len(COLUMNS) + 1),
    ]
    for operation, row in times.items():
        cells = ["–" if each is None else f"{each:.3g}" for each in row]
        lines.append(f"| {operation} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    """Prints a table for each network."""
    parser = argparse.ArgumentParser(description="Measure certificates.")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument(
        "--smoke", action="store_true", help="two images, the small network"
    )
    parsed = parser.parse_args()
    count = 2 if parsed.smoke else IMAGES
    title = f"Certificates of {count} images; {describe_run()}"
    if keep_memory():
        title += ", freed memory kept"
    parts = [title]
    print(title)
    networks = make_networks()
    if parsed.smoke:
        networks = dict(list(networks.items())[:1])
    x = np.random.default_rng(0).uniform(size=(count, 32, 32, 3))
    x = x.astype("float32")
    for name, make in networks.items():
        keras.utils.set_random_seed(0)
        parts.append(format_network(name, measure_network(make(), x)))
        print("\n" + parts[-1], flush=True)
    if parsed.output:
        parsed.output.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
