"""Type names shared by the whole package."""

from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

import numpy as np

# A NumPy array on the host.
Array: TypeAlias = np.ndarray[Any, Any]

# A tensor of the active backend. It is `Any`, so that importing the library
# imports only the active backend.
Tensor: TypeAlias = Any

Shape: TypeAlias = Sequence[int | None]

Config: TypeAlias = dict[str, Any]

# Tensors by name that a layer stores for its strategy.
State: TypeAlias = dict[str, Any]
