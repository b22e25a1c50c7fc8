"""One thread for each worker: processes that share cores must not compete."""

import gc
import importlib.metadata
import importlib.util
import os
import tempfile

import pytest

# XLA compiles a function for every shape, which takes most of the time of a
# test on JAX and next to none of it runs twice.
xla_flags = ["--xla_backend_optimization_level=0"]
if importlib.util.find_spec("jaxlib"):
    # XLA aborts on a flag that it does not know.
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        xla_flags.append("--xla_cpu_use_fusion_emitters=false")
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "TF_NUM_INTRAOP_THREADS",
    ):
        os.environ.setdefault(variable, "1")
    xla_flags.append("--xla_cpu_multi_thread_eigen=false")
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("XLA_FLAGS", " ".join(xla_flags))
    # Workers share what they compile, for as long as the tests run.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        compiled = tempfile.TemporaryDirectory(prefix="keras_lip_tests_")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_configure():
    # Rewriting a graph takes longer than running it once. Only workers import
    # TensorFlow: the process that starts them runs no test.
    if (
        os.environ.get("KERAS_BACKEND") == "tensorflow"
        and "PYTEST_XDIST_WORKER" in os.environ
    ):
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": True}
        )


def pytest_collection_finish():
    # What was imported is there to stay. The collection that Keras runs between
    # tests, to clear its session, would walk all of it every time.
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def forget_compiled():
    # A compiled program takes more than a megabyte, and there are thousands.
    yield
    if os.environ.get("KERAS_BACKEND") == "jax":
        import jax

        jax.clear_caches()
