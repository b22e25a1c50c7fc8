"""Starts Ray, with workers that can run trials."""

import pathlib

import keras

# What a trial imports, with the packages of the extra `tuning`.
_MODULES = ("tuning.data", "tuning.hyper_models")


def start_ray() -> bool:
    """Starts Ray on this machine, or connects to the cluster of `RAY_ADDRESS`.

    Workers get a copy of the package `tuning`, which is in no wheel, and the
    backend of this process. If Ray runs in this process already, nothing is
    changed.

    Returns:
        Boolean. Whether Ray was started, and is to be shut down.

    Raises:
        ValueError: If there is no such cluster.
    """
    import ray

    if ray.is_initialized():
        return False
    try:
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={
                "py_modules": [str(pathlib.Path(__file__).parent)],
                "env_vars": {"KERAS_BACKEND": keras.backend.backend()},
            },
        )
    except ConnectionError as error:
        raise ValueError(
            f"There is no Ray cluster to connect to: {error} Start one with "
            "`ray start --head`, or unset `RAY_ADDRESS` to use this machine."
        ) from error
    return True


def check_workers() -> None:
    """Raises an error if a worker cannot import what trials need.

    Raises:
        ImportError: If it cannot.
    """
    import ray

    modules = _MODULES

    # Ray sends a function inside of another as it is, and not by its module.
    def find_problem() -> str | None:
        import importlib

        try:
            for name in modules:
                importlib.import_module(name)
        except ImportError as error:
            return str(error)
        return None

    problem = ray.get(ray.remote(num_cpus=0)(find_problem).remote())
    if problem is not None:
        raise ImportError(
            f"The workers of Ray cannot import what a trial needs: {problem}. "
            'Install "keras-lip[tuning]" and the backend '
            f"{keras.backend.backend()!r} on all machines. If your code starts "
            "Ray, it must pass the folder `tuning` of the repository in "
            "`ray.init(runtime_env={'py_modules': [...]})`."
        )
