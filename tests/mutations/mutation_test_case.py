"""What shows that a planted mistake does not go unnoticed."""

import contextlib
import math
from unittest import mock

import numpy as np

from keras_lip.bounds import lipschitz_bound
from keras_lip.certificates import audit
from keras_lip.certificates import certify
from keras_lip.certificates import falsify
from keras_lip.live_model import LiveModel
from keras_lip.program.freezing import registry
from keras_lip.program.proof_cache import forget_proofs
from tests.lipschitz_test_case import LipschitzTestCase

# What a mistake is met with: a test that fails, or what the library raises. Of
# a `ValueError` that is one of two, no complaint about an argument.
CAUGHT = (AssertionError, RuntimeError, ValueError)
CONTRADICTED = "outputs differ from the|computes another function than"

# What float32 may take off the norm of a matrix that a model was asked for.
SLACK = 1e-6


class MutationTestCase(LipschitzTestCase):
    """Tests that hold a library with a known mistake against true numbers.

    The numbers come from running the live model, of weights that float32 adds
    up without rounding, and from linear algebra; nothing that is mutated
    computes them.
    """

    def setUp(self):
        super().setUp()
        # A proof with a mistake must not outlive it, nor hide it.
        self.addCleanup(forget_proofs)

    def assertCaught(self, mutation, *oracles):
        """Every oracle is content, but for the library with the mistake."""
        for oracle in oracles:
            forget_proofs()
            oracle()
            forget_proofs()
            with mutation:
                with self.assertRaises(CAUGHT) as caught:
                    oracle()
            # That would be a mistake of the mistake.
            self.assertNotIsInstance(caught.exception, RecursionError)
            if isinstance(caught.exception, ValueError):
                self.assertRegex(str(caught.exception), CONTRADICTED)
            forget_proofs()
            oracle()

    def mutate_freezer(self, layer_cls, freezer):
        """Replaces what reads layers of a class."""
        _, others = registry._freezers[layer_cls]
        planted = {layer_cls: (freezer, others)}
        return Planted(lambda: mock.patch.dict(registry._freezers, planted))

    def mutate_proof(self, node_cls, bound):
        """Replaces the proof of a node's constant.

        Args:
            node_cls: Class of the node.
            bound: Function of the node and of the constant that is proven.
        """
        prove = node_cls.prove

        def mutated(node, norm, shape):
            return bound(node, prove(node, norm, shape))

        return mock.patch.object(node_cls, "prove", mutated)

    def check_operator(self, model, norm="l2"):
        """The bound of an affine model is no less than its norm."""
        matrix, _ = explicit_operator(model)
        # That of linear maps of rows.
        exact = np.linalg.norm(matrix, {"l2": 2, "linf": 1}[norm])
        bound = lipschitz_bound(model, norm)
        self.assertGreaterEqual(bound, exact * (1 - SLACK))

    def check_audit(self, model):
        """No layer stretches a distance by more than its bound."""
        audit(model, steps=20)

    def check_radii(self, model, x, norm="l2", **kwargs):
        """The radii of an affine classifier are the true distances."""
        report = certify(model, x, np.zeros(len(x)), norm=norm, **kwargs)
        exact = exact_radii(*explicit_operator(model), x, norm)
        self.assertTrue((report.radius <= exact).all())
        self.assertTrue((report.radius >= exact * (1 - 1e-6)).all())

    def check_attacks(self, model, x, **kwargs):
        """No certificate is falsified."""
        report = certify(model, x, np.zeros(len(x)), **kwargs)
        falsify(model, x, None, report, attacks=False, steps=2)

    def check_live(self, model, x):
        """The model answers as what was read from it."""
        certify(model, x, np.zeros(len(x)))


class Planted:
    """A mistake that is made anew each time that it is planted.

    Args:
        make: Function without arguments that makes its context.
    """

    def __init__(self, make):
        self.make = make
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        return self.stack.enter_context(self.make())

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)


def both(*mutations):
    """Plants mistakes at once, and returns the context of all of them."""
    stack = contextlib.ExitStack()
    for mutation in mutations:
        stack.enter_context(mutation)
    return stack


def explicit_operator(model):
    """Returns the matrix and the offset of an affine model, by running it."""
    shape = model.input_shape[1:]
    size = math.prod(shape)
    points = np.concatenate([np.zeros((1, size)), np.eye(size)])
    outputs = LiveModel(model)(points.reshape(-1, *shape))
    outputs = outputs.reshape(size + 1, -1)
    return outputs[1:] - outputs[0], outputs[0]


def exact_radii(matrix, offset, x, norm="l2"):
    """Returns how far an affine classifier's answers reach."""
    logits = x.reshape(len(x), -1) @ matrix + offset
    dual = {"l2": 2, "linf": 1}[norm]
    if logits.shape[1] == 1:
        return np.abs(logits[:, 0]) / np.linalg.norm(matrix[:, 0], dual)
    labels = np.argmax(logits, axis=1)
    gaps = logits.max(axis=1)[:, None] - logits
    slopes = matrix[:, labels, None] - matrix[:, None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmin(gaps / np.linalg.norm(slopes, dual, axis=0), axis=1)
