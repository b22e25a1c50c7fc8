"""Deterministic execution, and the description of the hardware."""

import os
import platform

import keras


def make_deterministic():
    """Asks the backend to sum in the same order in every run."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    elif backend == "jax":
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = flags + " --xla_gpu_deterministic_ops=true"


def describe_hardware():
    """Returns the name of the device and the number of CPU cores."""
    backend = keras.backend.backend()
    name = platform.machine()
    if backend == "jax":
        import jax

        name = jax.devices()[0].device_kind
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            name = torch.cuda.get_device_name()
    elif backend == "tensorflow":
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            name = tf.test.gpu_device_name()
    return f"{name}, {os.cpu_count()} cores"
