"""Examples, experiments and benchmarks as modules."""

import importlib
import pathlib
import sys
from unittest import mock

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
EXPERIMENTS = EXAMPLES.with_name("experiments")
BENCHMARKS = EXAMPLES.with_name("benchmarks")


def load_example(name):
    """Imports an example as Python runs it: beside its neighbours."""
    return _load(EXAMPLES, name)


def load_experiment(name):
    """Imports an experiment as Python runs it: beside its neighbours."""
    return _load(EXPERIMENTS, name)


def load_benchmark(name):
    """Imports a benchmark as Python runs it: beside its neighbours."""
    return _load(BENCHMARKS, name)


def _load(folder, name):
    with mock.patch.object(sys, "path", [str(folder), *sys.path]):
        return importlib.import_module(name)
