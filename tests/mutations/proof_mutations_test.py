import importlib
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.bounds import propagate_bound
from tests.mutations.mutation_test_case import MutationTestCase
from tests.mutations.mutation_test_case import Planted
from tests.mutations.mutation_test_case import both
from tests.mutations.mutation_test_case import explicit_operator

CELLS = importlib.import_module("keras_lip.proofs.frequency_cell_bound")
GRIDS = importlib.import_module("keras_lip.proofs.frequency_grid_bound")
IMAGES = importlib.import_module("keras_lip.proofs.image_frequencies")
MATRICES = importlib.import_module("keras_lip.proofs.matrix_norms")


def estimate_low(module):
    """What is estimated before it is proven, and is rarely wrong, is wrong."""
    return mock.patch.object(module, "_estimate_largest", lambda *_: 1e-3)


def trust(grams, shift):
    return shift


def trust_all(grams, bound):
    return np.ones(grams.shape[:-2], bool)


def split_to_the_right(cells):
    return 2 * cells + 1


def cover_half(points):
    cells = np.arange(0, points[0] // 2 + 1, 2)[:, None]
    return cells[: len(cells) // 2]


def shorten(period):
    return lambda *args: period(*args) - 1


def keep_first(pairs):
    return lambda *args: pairs(*args)[:1]


class ProofMutationsTest(MutationTestCase):
    """A proof is not content with what is likely.

    An estimate that is too low does no harm, but for the mistake.
    """

    def checks(self, model):
        return (
            lambda: self.check_operator(model),
            lambda: self.check_audit(model),
        )

    def check_any_size(self, model):
        """The bound for any size is no less than the norm for one."""
        (layer,) = model.layers
        matrix, _ = explicit_operator(model)
        exact = np.linalg.norm(matrix, 2)
        self.assertGreaterEqual(propagate_bound(layer, 1.0), exact)

    def plant(self, module, name, wrong):
        return Planted(
            lambda: both(
                estimate_low(module), mock.patch.object(module, name, wrong)
            )
        )

    def make_dense(self):
        model = keras.Sequential(
            [keras.Input((3,)), layers.Dense(3, use_bias=False)]
        )
        model.layers[0].set_weights([np.diag([1.0, 3.0, 0.5])])
        return model

    def make_convolution(self):
        # The only peak is at this frequency, at the center of a cell.
        steps, _ = CELLS._plan(1e-3)
        angle = np.pi * round(1.4 * steps / 2) / steps
        turns = angle * np.arange(3)
        kernel = np.array(
            [[np.cos(turns), -np.sin(turns)], [np.sin(turns), np.cos(turns)]]
        )
        layer = layers.Conv1D(2, 3, padding="same", use_bias=False)
        model = keras.Sequential([keras.Input((40, 2)), layer])
        layer.set_weights([np.moveaxis(kernel, -1, 0)])
        return model

    def test_estimates_that_are_wrong_do_no_harm(self):
        for model in (self.make_dense(), self.make_convolution()):
            with estimate_low(CELLS), estimate_low(MATRICES):
                for check in self.checks(model):
                    check()
                with mock.patch.object(GRIDS, "_guess_largest", lambda _: 0):
                    self.check_operator(model)
                self.check_any_size(model)

    def test_shifts_that_are_not_factored(self):
        mutation = self.plant(MATRICES, "_bound_by_shifting", trust)
        self.assertCaught(mutation, *self.checks(self.make_dense()))

    @parameterized.named_parameters(
        ("trusted", "are_bounded", trust_all),
        ("split_to_one_side", "_split", split_to_the_right),
        ("of_low_frequencies", "_coarsest_cells", cover_half),
    )
    def test_cells(self, name, wrong):
        mutation = self.plant(CELLS, name, wrong)
        model = self.make_convolution()
        # An audit does not find a peak as narrow as what is missed of it.
        self.assertCaught(mutation, lambda: self.check_any_size(model))

    @parameterized.named_parameters(
        ("ring_too_short", IMAGES, "_period", shorten(IMAGES._period)),
        (
            "low_frequencies",
            GRIDS,
            "one_of_each_pair",
            keep_first(GRIDS.one_of_each_pair),
        ),
    )
    def test_image_frequencies(self, module, name, wrong):
        layer = layers.Conv1D(1, 3, padding="same", use_bias=False)
        model = keras.Sequential([keras.Input((4, 1)), layer])
        layer.set_weights([np.reshape([1.0, 0.0, -1.0], (3, 1, 1))])
        mutation = Planted(lambda: mock.patch.object(module, name, wrong))
        self.assertCaught(mutation, *self.checks(model))
