"""Where the choices that make a random network come from."""

import abc

import numpy as np
from hypothesis import strategies as st


class Draws(abc.ABC):
    """A source of choices."""

    @abc.abstractmethod
    def integer(self, low, high):
        """Returns an integer, `low` and `high` included."""

    def choose(self, options):
        return options[self.integer(0, len(options) - 1)]

    def chance(self, out_of):
        """Returns whether one time out of so many came up."""
        return self.integer(1, out_of) == out_of

    def seed(self):
        return self.integer(0, 2**31 - 1)


class HypothesisDraws(Draws):
    """Draws that Hypothesis makes, and makes smaller where a test fails."""

    def __init__(self, data):
        self._data = data

    def integer(self, low, high):
        return self._data.draw(st.integers(low, high))


class SeededDraws(Draws):
    """Draws that a seed determines."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)

    def integer(self, low, high):
        return int(self._rng.integers(low, high, endpoint=True))
