import importlib
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.certificates import audit
from keras_lip.certificates import certified_radius
from keras_lip.certificates import certify
from keras_lip.certificates.margins import pair_margins
from keras_lip.program import Program
from keras_lip.program.arithmetic import Arithmetic
from keras_lip.program.nodes.dense import Dense
from tests.lipschitz_test_case import to_numpy
from tests.mutations.mutation_test_case import MutationTestCase
from tests.mutations.mutation_test_case import Planted
from tests.mutations.mutation_test_case import both

ROOM = "keras_lip.certificates"
PAIR_BOUNDS = importlib.import_module(f"{ROOM}.pair_bounds")
REAL_CERTIFIER = importlib.import_module(f"{ROOM}.real_certifier")


def two_classes_only(logits, pair_bounds, errors):
    """Margins over the runner-up alone: no other class comes nearer."""
    margins = pair_margins(logits, pair_bounds, errors)
    runner_up = np.argsort(-logits, axis=1)[:, 1:2]
    is_compared = np.arange(logits.shape[1]) == runner_up
    return margins._replace(rate=np.where(is_compared, margins.rate, 0.0))


def ties_removed(logits, pair_bounds, errors):
    """Margins that take the first of the largest logits for the answer."""
    is_tied = logits == logits.max(axis=1)[:, None]
    is_answer = np.arange(logits.shape[1]) == np.argmax(logits, axis=1)[:, None]
    logits = np.where(is_tied & ~is_answer, logits - 10.0, logits)
    return pair_margins(logits, pair_bounds, errors)


def round_operands(values, bits=10):
    """Rounds mantissas as the matrix units of GPUs do."""
    mantissas, exponents = np.frexp(values)
    return np.ldexp(np.round(mantissas * 2**bits) / 2**bits, exponents)


def mutate_enclosure(change):
    """Changes what programs are run on."""
    enclose = Program.enclose

    def mutated(program, x, machine, keep=()):
        return enclose(program, change(x), machine, keep)

    return mock.patch.object(Program, "enclose", mutated)


def blind():
    """Makes a context in which no answer of a model is looked at."""
    return mock.patch.object(
        REAL_CERTIFIER,
        "check_live",
        lambda live, x, outputs, start=0: np.zeros(len(x), dtype=bool),
    )


class CertificateMutationsTest(MutationTestCase):
    def make_model(self, kernel, bias=None, scale=None):
        kernel = np.asarray(kernel, dtype=float)
        model = keras.Sequential(
            [
                keras.Input((len(kernel),)),
                layers.Rescaling(1.0 if scale is None else scale),
                layers.Dense(kernel.shape[1]),
            ]
        )
        bias = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias)
        model.layers[1].set_weights([kernel, bias])
        return model

    def checks(self, model, x):
        return (
            lambda: self.check_radii(model, x),
            lambda: self.check_attacks(model, x),
        )

    def test_root_of_two_forgotten(self):
        model = self.make_model(np.eye(2))
        x = self.normal(4, 2).astype("float64")
        mutation = mock.patch.dict(PAIR_BOUNDS.JOINT_FACTORS, {"l2": 1.0})
        self.assertCaught(mutation, *self.checks(model, x))
        mutation = mock.patch.dict(PAIR_BOUNDS.JOINT_FACTORS, {"linf": 2**0.5})
        # Logits of separate entries move against each other.
        self.assertCaught(
            mutation,
            lambda: self.check_radii(model, x, "linf"),
            lambda: self.check_attacks(model, x, norm="linf"),
        )

    def test_branches_whose_margin_moves_as_either(self):
        inputs = keras.Input((1,))
        branches = [layers.Rescaling(s)(inputs) for s in (1.0, -2.0)]
        model = keras.Model(inputs, layers.Concatenate()(branches))
        x = np.array([[3.0], [-1.0]])

        def largest(bounds, sizes, norm):
            return np.maximum.outer(bounds, bounds)

        mutation = mock.patch.object(PAIR_BOUNDS, "_bound_branches", largest)
        self.assertCaught(mutation, *self.checks(model, x))

    def test_weights_of_a_head_compared_in_the_wrong_norm(self):
        model = self.make_model([[1.0, 0.0], [1.0, 0.0]])
        x = self.normal(4, 2).astype("float64")
        distances = PAIR_BOUNDS._distances_up
        mutation = mock.patch.object(
            PAIR_BOUNDS,
            "_distances_up",
            lambda kernel, norm: distances(kernel, "l2"),
        )
        self.assertCaught(
            mutation,
            lambda: self.check_radii(model, x, "linf"),
            lambda: self.check_attacks(model, x, norm="linf"),
        )

    def test_largest_logits_only(self):
        # The runner-up is far away, and the last class near.
        model = self.make_model([[1.0, 0.9, -9.0]], [0.5, 0.0, 0.0])
        x = np.array([[1.0], [1.5], [2.0], [3.0]])
        mutation = mock.patch.object(
            REAL_CERTIFIER, "pair_margins", two_classes_only
        )
        self.assertCaught(mutation, *self.checks(model, x))

    def test_ties_with_a_radius(self):
        model = self.make_model(np.eye(3))
        x = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])

        def check():
            radius = certified_radius(model, x)
            self.assertEqual(radius.tolist(), [0.0, 0.0])

        mutation = mock.patch.object(
            REAL_CERTIFIER, "pair_margins", ties_removed
        )
        # Just beside a tie, the other class is at hand for an attack.
        self.assertCaught(mutation, check, lambda: self.check_attacks(model, x))

    def test_bound_multiplied_batch_by_batch(self):
        # The constant is less than one: radii grow from batch to batch.
        model = self.make_model(np.eye(2), scale=0.5)
        x = self.normal(4, 2).astype("float64")
        calls = []

        def multiply(logits, pair_bounds, errors):
            calls.append(0.5)
            return pair_margins(logits, pair_bounds * np.prod(calls), errors)

        mutation = mock.patch.object(REAL_CERTIFIER, "pair_margins", multiply)
        self.assertCaught(
            mutation, lambda: self.check_radii(model, x, batch_size=2)
        )

    @parameterized.named_parameters(
        ("of_any_model", lambda program: "0" * 64),
        (
            "of_what_is_trained",
            lambda program: "".join(
                step.node.digest
                for step in program.steps
                if isinstance(step.node, Dense)
            ),
        ),
    )
    def test_audit_of_other_statistics_reused(self, digest):
        norm = layers.BatchNormalization(epsilon=0.0)
        model = keras.Sequential(
            [keras.Input((2,)), norm, layers.Dense(2, use_bias=False)]
        )
        model.layers[1].set_weights([np.eye(2)])
        x = self.normal(4, 2).astype("float64")

        def check():
            norm.moving_variance.assign([1.0, 1.0])
            old = audit(model, steps=None)
            self.check_radii(model, x, audit=old)
            norm.moving_variance.assign([0.25, 0.25])
            with self.assertRaisesRegex(ValueError, "of other weights"):
                self.check_radii(model, x, audit=old)

        mutation = mock.patch.object(Program, "digest", property(digest))
        self.assertCaught(mutation, check)

    def test_operands_rounded_to_ten_bits(self):
        model = self.make_model(np.eye(2))
        x = self.normal(4, 2).astype("float64")
        self.assertCaught(
            mutate_enclosure(round_operands), lambda: self.check_live(model, x)
        )
        # It would be caught if no answer of the model were looked at, too.
        self.assertCaught(
            Planted(lambda: both(mutate_enclosure(round_operands), blind())),
            *self.checks(model, x),
        )

    def test_inputs_that_are_clipped(self):
        model = self.make_model(np.eye(2))
        x = 1.0 + np.abs(self.normal(4, 2)).astype("float64")

        def clip(inputs):
            return np.clip(inputs, 0.0, 1.0)

        self.assertCaught(
            mutate_enclosure(clip),
            lambda: self.check_live(model, x),
            lambda: self.check_attacks(model, x),
        )

    def test_roundings_of_an_execution_ignored(self):
        # A bias of 1.5 2^26 leaves steps of 8 between float32 logits.
        model = keras.Sequential([keras.Input((1,)), layers.Dense(2)])
        bias = np.full(2, 1.5 * 2**26)
        model.layers[0].set_weights([np.array([[1.0, -1.0]]), bias])
        x = np.array([[3.0]])

        def check():
            executed = to_numpy(model(x.astype("float32")))[0]
            report = certify(model, x, [0], semantics="float32")
            if executed[0] == executed[1]:
                self.assertEqual(report.radius[0], 0.0)

        exact = Arithmetic.gamma

        def gamma(arithmetic, roundings):
            if arithmetic.is_typical:
                return exact(arithmetic, roundings)
            return 0.0

        self.assertCaught(mock.patch.object(Arithmetic, "gamma", gamma), check)

    def test_rounding_of_logits_ignored(self):
        # In float64 a bias of 1.5 2^55 leaves steps of 8 between the logits,
        # and a difference of 6 becomes one of 8.
        model = self.make_model([[1.0, 0.0]], [1.5 * 2.0**55, 1.5 * 2.0**55])
        x = np.array([[6.0]])
        exact = REAL_CERTIFIER.pair_margins

        def ignore(logits, pair_bounds, errors):
            return exact(logits, pair_bounds, np.zeros(len(logits)))

        def check():
            radius = certified_radius(model, x)
            self.assertLessEqual(radius[0], 6.0)

        mutation = mock.patch.object(REAL_CERTIFIER, "pair_margins", ignore)
        self.assertCaught(mutation, check)
