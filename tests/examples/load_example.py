"""Examples as modules."""

import importlib
import pathlib
import sys
from unittest import mock

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def load_example(name):
    """Imports an example as a script does: beside its neighbours."""
    with mock.patch.object(sys, "path", [str(EXAMPLES), *sys.path]):
        return importlib.import_module(name)
