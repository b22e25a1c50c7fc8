"""Settings of a process whose JAX has two devices on CPUs."""

import importlib.metadata
import os


def set_two_devices(*flags):
    """Sets the environment, before JAX is imported.

    A device that waits for the other in a collective operation keeps a thread
    of XLA's pool. The pool has as many threads as cores, and more work than
    these two operations: with two cores, the other device may never get a
    thread. More threads than cores avoid this. On a busy machine, a device may
    also wait for longer than XLA does.

    Args:
        flags: Further flags of XLA.
    """
    os.environ["NPROC"] = "8"
    flags = (
        "--xla_force_host_platform_device_count=2",
        "--xla_cpu_multi_thread_eigen=false",
        *flags,
    )
    # XLA aborts on a flag that it does not know.
    if _find_version("jaxlib").startswith("0.10."):
        flags = (
            *flags,
            "--xla_cpu_collective_call_terminate_timeout_seconds=1200",
        )
    os.environ["XLA_FLAGS"] = " ".join(flags)


def _find_version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # Another backend is tested.
        return ""
