"""Which layers train with kernels that are sharded over devices, on JAX.

    python benchmarks/sharded_kernels.py
    python benchmarks/sharded_kernels.py LOTConv2D    # one of the rows
    python benchmarks/sharded_kernels.py --smoke

divides the CPU into two devices and trains each layer twice with the same
batches: on one device, and under `keras.distribution.ModelParallel` with the
last axis of every trainable weight, if it is even, on two devices. It prints a
table with, for each layer,

- the largest difference of the weights after training, relative to the largest
  weight, or the error of a layer that does not train;
- whether the weights are still sharded after training;
- the collective operations of the compiled training step. With an `all-gather`
  the devices exchange a kernel, so that each has the whole for a while.

The short run ends with the first error instead.
"""

import argparse
import collections
import os
import re

os.environ["KERAS_BACKEND"] = "jax"
# XLA on CPUs waits forever with more devices than cores, with threads of its
# own in each of them, or when its pool has no more threads than devices.
os.environ.setdefault("NPROC", "8")
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=2 "
    "--xla_cpu_multi_thread_eigen=false"
)

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from keras_lip import layers  # noqa: E402

VECTORS, IMAGES = (8,), (8, 8, 4)
DEVICES = 2
COLLECTIVES = r"(all-gather|all-reduce|all-to-all|collective-permute)\("


def dense(parametrization):
    """Returns a case of `OrthogonalDense`."""
    return (
        lambda: layers.OrthogonalDense(8, parametrization=parametrization),
        VECTORS,
    )


def bounded(parametrization):
    """Returns a case of `LipschitzDense`."""
    return (
        lambda: layers.LipschitzDense(8, parametrization=parametrization),
        VECTORS,
    )


CASES = {
    "OrthogonalDense, Björck": dense("bjorck"),
    "OrthogonalDense, Cayley": dense("cayley"),
    "OrthogonalDense, Cholesky": dense("cholesky"),
    "OrthogonalDense, exponential": dense("exponential"),
    "OrthogonalDense, QR": dense("qr"),
    "OrthogonalDense, block reflector": dense("block_reflector"),
    "LipschitzDense, spectral": bounded("spectral"),
    "LipschitzDense, AOL": bounded("aol"),
    "LipschitzDense, Frobenius": bounded("frobenius"),
    "UnitNormDense": (lambda: layers.UnitNormDense(8), VECTORS),
    "SLLDense": (lambda: layers.SLLDense(8), VECTORS),
    "ConvexPotentialDense": (lambda: layers.ConvexPotentialDense(8), VECTORS),
    "AOLConv2D": (lambda: layers.AOLConv2D(4, 3), IMAGES),
    "RKOConv2D": (lambda: layers.RKOConv2D(4, 3), IMAGES),
    "OSSNConv2D": (lambda: layers.OSSNConv2D(4, 3), IMAGES),
    "BCOPConv2D": (lambda: layers.BCOPConv2D(4, 3), IMAGES),
    "SOCConv2D": (lambda: layers.SOCConv2D(4, 3), IMAGES),
    "CayleyConv2D": (lambda: layers.CayleyConv2D(4, 3), IMAGES),
    "LOTConv2D": (lambda: layers.LOTConv2D(4, 3), IMAGES),
    "BROConv2D": (lambda: layers.BROConv2D(4, 3), IMAGES),
}


class LastAxis(keras.distribution.LayoutMap):
    """Shards the last axis of trainable weights, where it can be divided."""

    def __init__(self, mesh, model):
        super().__init__(mesh)
        for weight in model.trainable_weights:
            if weight.shape and weight.shape[-1] % DEVICES == 0:
                axes = (*[None] * (len(weight.shape) - 1), "model")
                self[re.escape(weight.path)] = axes


def make_model(make, sample):
    """Returns a compiled model of one layer."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(sample), make()])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def train(model, sample, steps):
    """Trains a model, and returns its trainable weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * steps, *sample)).astype("float32")
    y = np.roll(x, 1, axis=-1)
    model.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    return [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]


def count_collectives(model, sample):
    """Counts the collective operations of the compiled training step."""
    x = np.ones((4, *sample), "float32")
    state = model._get_jax_state(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
        purge_model_variables=False,
    )
    step = jax.jit(model.train_step)
    text = step.lower(state, (x, x)).compile().as_text()
    counts = collections.Counter(re.findall(COLLECTIVES, text))
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))


def compare(make, sample, steps):
    """Returns the cells of a layer's row."""
    expected = train(make_model(make, sample), sample, steps)
    mesh = keras.distribution.DeviceMesh((1, DEVICES), ("batch", "model"))
    layout = LastAxis(mesh, make_model(make, sample))
    sharded = list(layout)
    keras.utils.clear_session()
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(
            layout_map=layout, batch_dim_name="batch"
        )
    )
    try:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input(sample), make()])
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
        found = train(model, sample, steps)
        off = max(
            float(np.abs(a - b).max() / np.abs(b).max())
            for a, b in zip(found, expected, strict=True)
        )
        kept = [
            weight.path
            for weight in model.trainable_weights
            if not weight.value.sharding.is_fully_replicated
        ]
        return (
            f"{off:.0e}",
            f"{len(kept)} of {len(sharded)}",
            count_collectives(model, sample) or "none",
        )
    finally:
        keras.distribution.set_distribution(None)


def positive(text):
    """Reads a positive integer of the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"it must be a positive integer. Received: {text}"
        )
    return int(text)


def main(argv=None):
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Shard kernels on JAX.")
    parser.add_argument("layers", nargs="*", help="rows, all by default")
    parser.add_argument("--smoke", action="store_true", help="two layers")
    parser.add_argument("--steps", type=positive, default=4)
    settings = parser.parse_args(argv)
    unknown = set(settings.layers) - CASES.keys()
    if unknown:
        raise SystemExit(
            f"Unknown layers: {sorted(unknown)}. The known ones are: "
            f"{', '.join(CASES)}"
        )
    devices = jax.devices()
    if len(devices) < DEVICES:
        raise SystemExit(
            f"The kernels are divided over {DEVICES} devices. Set "
            "JAX_PLATFORMS=cpu to divide the CPU. Received: "
            f"{len(devices)} of platform {devices[0].platform!r}"
        )
    chosen = settings.layers or list(CASES)
    if settings.smoke:
        chosen = chosen[:2]
    print("| layer | difference | still sharded | collective operations |")
    print("|---|---|---|---|")
    for name in chosen:
        try:
            cells = compare(*CASES[name], settings.steps)
        except Exception as error:  # The table says what does not run.
            if settings.smoke:
                raise
            cells = (f"{type(error).__name__}: {str(error)[:60]}", "", "")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
