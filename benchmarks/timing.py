"""Timing of several functions in turns, and a description of the run."""

import ctypes
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# Parameters of `mallopt` in glibc's `malloc.h`.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_memory() -> bool:
    """Makes the process keep the memory of freed tensors.

    Otherwise glibc requests each block above 32 MiB from the system, which
    clears it page by page. For such a tensor, this takes as long as half a
    convolution, and several times as long under other load. It depends on
    chance whether the heap contains a free block that can be used instead.

    Returns:
        Boolean. Whether glibc accepted the settings.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def make_training_step(layers: list[Any], x: Any, loss: Any) -> Callable:
    """Returns a function that runs one compiled training step.

    Args:
        layers: List of layers.
        x: Array of a batch of inputs.
        loss: Loss of the outputs, which are compared with zeros.

    Returns:
        Function without arguments that runs the forward pass, the backward pass
        and the update, and returns when the step is done.
    """
    model = keras.Sequential([keras.Input(batch_shape=x.shape), *layers])
    return step_model(model, x, np.zeros(model.output_shape, "float32"), loss)


def step_model(model: Any, x: Any, y: Any, loss: Any) -> Callable:
    """Returns the function of `make_training_step` for a model and targets."""
    model.compile(keras.optimizers.SGD(1e-4), loss)
    return lambda: float(model.train_on_batch(x, y))


def make_inference(layers: list[Any], x: Any) -> Callable:
    """Returns a function that runs the compiled layers on a batch."""
    model = keras.Sequential([keras.Input(batch_shape=x.shape), *layers])
    return lambda: model.predict_on_batch(x)


def measure(
    functions: dict[str, Callable], rounds: int, warm_up: int = 3
) -> dict[str, float]:
    """Times functions in turns, so that other load affects all equally.

    Args:
        functions: Dict of functions without arguments, by name.
        rounds: Integer. Number of times that each function is timed.
        warm_up: Integer. Number of calls of each function before the timing.

    Returns:
        Dict of median times in milliseconds.
    """
    for function in functions.values():
        for _ in range(warm_up):
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {
        name: 1e3 * statistics.median(values) for name, values in times.items()
    }


def describe_run() -> str:
    """Returns the versions and the device, for the title of a table."""
    backend = keras.backend.backend()
    version = __import__(backend).__version__
    return (
        f"{backend} {version}, Keras {keras.__version__}, "
        f"{_name_device(backend)}, Python {platform.python_version()}"
    )


def read_device_peak() -> int | None:
    """Returns the peak memory of a GPU in bytes, or `None` on a CPU."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        statistics = jax.devices()[0].memory_stats()
        return statistics and statistics["peak_bytes_in_use"]
    if backend == "torch":
        import torch

        gpu = torch.cuda.is_available()
        return torch.cuda.max_memory_allocated() if gpu else None
    import tensorflow

    if not tensorflow.config.list_physical_devices("GPU"):
        return None
    return tensorflow.config.experimental.get_memory_info("GPU:0")["peak"]


def _name_device(backend: str) -> str:
    cores = len(os.sched_getaffinity(0))
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return device.device_kind if device.platform == "gpu" else _cpu(cores)
    if backend == "torch":
        import torch

        gpu = torch.cuda.is_available()
        return torch.cuda.get_device_name() if gpu else _cpu(cores)
    import tensorflow

    gpus = tensorflow.config.list_physical_devices("GPU")
    if not gpus:
        return _cpu(cores)
    details = tensorflow.config.experimental.get_device_details(gpus[0])
    return details.get("device_name", "GPU")


def _cpu(cores: int) -> str:
    return f"CPU with {cores} cores"
