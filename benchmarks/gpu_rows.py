"""The measurements of `benchmarks/gpu_report.py`, one row each, with JAX.

The script runs in its own process. Its arguments are `smoke` or `full`, and the
rows to skip. It writes a line of JSON before and after every other row.

The precisions apply to training. With `tf32`, products use TensorFloat-32,
including the products that constrain kernels. With `bf16`, layers compute in
bfloat16, and kernels are constrained in float32. Neither affects the proofs:
they bound the kernels that run when a model is certified, in full precision.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable

import jax
import keras
import numpy as np
from depth import make_network
from jax_step import TrainingStep
from timing import describe_run
from timing import measure

import keras_lip as kl
from keras_lip.layers.registry import CONVOLUTIONS
from keras_lip.layers.registry import RESIDUAL_BLOCKS

CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Precision:
    """The precision of a training step.

    Attributes:
        policy: Name of the dtype policy of the layers.
        products: Name of JAX's precision for products in float32.
    """

    policy: str
    products: str

    @contextlib.contextmanager
    def hold(self):
        """Returns a context for creating layers and compiling steps."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)
        try:
            with jax.default_matmul_precision(self.products):
                yield
        finally:
            keras.config.set_dtype_policy(before)


PRECISIONS = {
    "float32": Precision("float32", "highest"),
    "tf32": Precision("float32", "tensorfloat32"),
    "bf16": Precision("mixed_bfloat16", "highest"),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        section: Name of the table.
        key: Unique name of the row.
        run: Function that returns a dict of the results.
    """

    section: str
    key: str
    run: Callable


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of the measurements.

    Attributes:
        shapes: Pairs of the side of an image and its channels.
        batch_size: Number of images in a step.
        steps: Number of steps that are timed together.
        rounds: Number of times that they are timed.
        depths: Numbers of blocks of one network.
        samples: Number of images that are certified.
        estimate_steps: Number of steps of an estimate.
    """

    shapes: tuple = ((32, 64), (16, 256), (8, 512))
    batch_size: int = 256
    steps: int = 20
    rounds: int = 5
    depths: tuple = (100, 300, 1000)
    samples: int = 64
    estimate_steps: int = 20


SMOKE = Sizes(((6, 4),), 2, 1, 1, (2,), 4, 1)


def squared(_, outputs):
    """The loss of a single layer or a critic."""
    return keras.ops.mean(keras.ops.square(outputs))


def classify(y, outputs):
    """The loss of a classifier."""
    loss = kl.losses.TemperatureSparseCategoricalCrossentropy(8.0)
    return loss(y, outputs)


def make_images(*shape):
    """Returns random images."""
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def make_layer(method, channels):
    """Returns a 3 x 3 convolution of a method, or the plain one of Keras."""
    if method == "plain":
        return keras.layers.Conv2D(channels, 3, padding="same")
    layer_cls = {**CONVOLUTIONS, **RESIDUAL_BLOCKS}[method]
    return layer_cls(channels, 3)


@functools.lru_cache(maxsize=2)
def compile_layer(method, side, channels, batch_size, precision):
    """Returns the training step of a layer."""
    with PRECISIONS[precision].hold():
        shape = (batch_size, side, side, channels)
        model = keras.Sequential(
            [keras.Input(shape[1:]), make_layer(method, channels)]
        )
        x = make_images(*shape)
        return TrainingStep(model, squared, x, np.zeros(()), of_inputs=True)


def measure_layer(method, side, channels, precision, sizes):
    """Times a layer and the plain convolution in turns."""
    names = ("plain",) if method == "plain" else ("plain", method)
    steps = {
        name: compile_layer(name, side, channels, sizes.batch_size, precision)
        for name in names
    }
    times = measure(
        {
            name: functools.partial(step.run, sizes.steps)
            for name, step in steps.items()
        },
        sizes.rounds,
        warm_up=1,
    )
    step = steps[method]
    return {
        "compile_s": step.compile_seconds,
        "step_ms": times[method] / sizes.steps,
        "plain_ms": times["plain"] / sizes.steps,
        "ratio": times[method] / times["plain"],
        "temporary_mib": step.memory,
    }


def list_applications(smoke):
    """Returns a dict from names to functions that create the networks."""
    networks = kl.applications
    if smoke:
        return {
            "SmallConvNet, aol": functools.partial(
                networks.SmallConvNet,
                (8, 8, 3),
                convolution="aol",
                width=2,
                units=4,
            )
        }
    return {
        "SmallConvNet, bcop": networks.SmallConvNet,
        "LargeConvNet, bcop": networks.LargeConvNet,
        "ResNet9, cayley": networks.ResNet9,
        "ConvexPotentialNet S, scanned": functools.partial(
            networks.ConvexPotentialNet, scan_blocks=True
        ),
        "SLLNet S, scanned": functools.partial(
            networks.SLLNet, scan_blocks=True
        ),
        "LipConvNet-5, soc": functools.partial(networks.LipConvNet, 5),
        "LipConvNet-15, soc": functools.partial(networks.LipConvNet, 15),
        "FullyConnected3": networks.FullyConnected3,
        "DCGANCritic": networks.DCGANCritic,
    }


def measure_network(make, precision, sizes):
    """Builds, compiles and times a network."""
    with PRECISIONS[precision].hold():
        began = time.perf_counter()
        model = make()
        build = time.perf_counter() - began
        size = sizes.batch_size
        x = make_images(size, *model.input_shape[1:])
        critic = model.output_shape[-1] == 1
        loss = squared if critic else classify
        y = np.arange(size) % CLASSES
        step = TrainingStep(model, loss, x, y)
    function = functools.partial(step.run, sizes.steps)
    times = measure({"step": function}, sizes.rounds, warm_up=1)
    milliseconds = times["step"] / sizes.steps
    return {
        "build_s": build,
        "compile_s": step.compile_seconds,
        "step_ms": milliseconds,
        "images_per_s": 1e3 * size / milliseconds,
        "temporary_mib": step.memory,
    }


def clock(action):
    """Returns the result of an action and the seconds that it takes."""
    began = time.perf_counter()
    result = action()
    return result, time.perf_counter() - began


def measure_audit(make, sizes):
    """Times the proofs on the host and the estimates on the device."""
    model = make()
    x = make_images(sizes.samples, *model.input_shape[1:])
    y = np.arange(sizes.samples) % CLASSES
    # The first call includes the compilation of the constraints of kernels.
    _, first = clock(lambda: kl.bounds.lipschitz_bound(model))
    bound, prove = clock(lambda: kl.bounds.lipschitz_bound(model))
    report, audit = clock(lambda: kl.certificates.audit(model))
    _, certify = clock(
        lambda: kl.certificates.certify(model, x, y, audit=report)
    )
    estimate, device = clock(lambda: kl.bounds.lipschitz_estimate(model, x[:8]))
    model.compile(loss=classify, metrics=[kl.metrics.CertifiedAccuracy(0.1)])
    _, evaluate = clock(lambda: model.evaluate(x, y, verbose=0))
    return {
        "first_bound_s": first,
        "host_bound_s": prove,
        "host_audit_s": audit,
        "host_certify_s": certify,
        "device_estimate_s": device,
        "device_metric_s": evaluate,
        "bound": bound,
        "estimate": estimate,
    }


def list_rows(smoke):
    """Returns the rows, with the sections in turns."""
    sizes = SMOKE if smoke else Sizes()
    applications = list_applications(smoke)
    methods = ["plain", *CONVOLUTIONS, *RESIDUAL_BLOCKS]
    if smoke:
        methods = ["plain", "rko"]
    layers = [
        Row(
            "layers",
            f"{method}, {side} x {side} x {channels}, {precision}",
            functools.partial(
                measure_layer, method, side, channels, precision, sizes
            ),
        )
        for precision in ("tf32", "bf16")
        for side, channels in sizes.shapes
        for method in methods
    ]
    networks = [
        Row(
            "applications",
            f"{name}, {precision}",
            functools.partial(measure_network, make, precision, sizes),
        )
        for precision in ("tf32", "bf16")
        for name, make in applications.items()
    ]
    depths = [
        Row(
            "depth",
            f"{depth} blocks, tf32",
            functools.partial(
                measure_network,
                functools.partial(make_network, depth, False),
                "tf32",
                sizes,
            ),
        )
        for depth in sizes.depths
    ]
    audits = [
        Row("audits", name, functools.partial(measure_audit, make, sizes))
        for name, make in itertools.islice(applications.items(), 4)
    ]
    # The rows of layers are the most numerous and the fastest.
    share = -(-len(layers) // max(len(networks), 1))
    chunks = [layers[i : i + share] for i in range(0, len(layers), share)]
    turns = itertools.zip_longest(chunks, depths, networks, audits)
    return [
        row
        for chunk, *others in turns
        for row in [*(chunk or ()), *others]
        if row is not None
    ]


def main(arguments):
    """Measures the rows that are not done.

    Args:
        arguments: List: the word `smoke` or `full`, then the keys of the rows
            to skip.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    size, *done = arguments
    _tell(answers, {"head": describe_run()})
    for row in list_rows(size == "smoke"):
        if row.key in done:
            continue
        _tell(answers, {"begin": row.key, "section": row.section})
        try:
            found = row.run()
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"[:500]}
        _tell(answers, {"end": row.key, "section": row.section, **found})
    _tell(answers, {"finished": True})


def _tell(answers, message):
    print(json.dumps(message), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
