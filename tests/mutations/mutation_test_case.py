"""What shows that a planted mistake does not go unnoticed."""

import math
from unittest import mock

import numpy as np

from keras_lip.bounds import lipschitz_bound
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.certificates import audit
from keras_lip.certificates import certify
from keras_lip.certificates import falsify
from keras_lip.certificates.float64_logits import Float64Logits
from tests.lipschitz_test_case import LipschitzTestCase

# What a mistake is met with: a test that fails, or what the library raises.
CAUGHT = (AssertionError, RuntimeError)


class MutationTestCase(LipschitzTestCase):
    """Tests that hold a library with a known mistake against true numbers.

    The numbers come from running the model, in float64, and from linear
    algebra; nothing that is mutated computes them.
    """

    def assertCaught(self, mutation, *oracles):
        """Every oracle is content, but for the library with the mistake."""
        for oracle in oracles:
            oracle()
            with mutation:
                with self.assertRaises(CAUGHT):
                    oracle()

    def mutate_rule(self, layer_cls, rule, norm="l2"):
        """Replaces the rule by which bounds pass through a class."""
        rules = propagate_bound._rules[layer_cls]
        return mock.patch.dict(rules, {norm: rule})

    def check_operator(self, model):
        """The bound of an affine model is no less than its norm."""
        matrix, _ = explicit_operator(model)
        norm = np.linalg.norm(matrix, 2)
        self.assertGreaterEqual(lipschitz_bound(model), norm * (1 - 1e-12))

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


def explicit_operator(model):
    """Returns the matrix and the offset of an affine model, by running it."""
    shape = model.input_shape[1:]
    size = math.prod(shape)
    points = np.concatenate([np.zeros((1, size)), np.eye(size)])
    outputs = Float64Logits(model)(points.reshape(-1, *shape))
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
