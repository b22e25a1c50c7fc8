"""Marks of tests."""

import keras
import pytest

# For tests whose outcome is not a matter of the backend.
on_pytorch_alone = pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="No matter of the backend. On PyTorch nothing is compiled.",
)
