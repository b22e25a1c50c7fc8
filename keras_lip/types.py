"""Type names shared by the whole package."""

from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

import numpy as np

# What lives on the host, in NumPy.
Array: TypeAlias = np.ndarray[Any, Any]

# A tensor of whichever backend is active. Left open so that importing the
# library imports no backend but the active one.
Tensor: TypeAlias = Any

Shape: TypeAlias = Sequence[int | None]

Config: TypeAlias = dict[str, Any]

# The tensors that a strategy asks its layer to keep, by name.
State: TypeAlias = dict[str, Any]
