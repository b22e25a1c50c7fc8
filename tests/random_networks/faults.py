"""Mistakes to plant on purpose, each of which the checks must find."""

import contextlib
import sys
from unittest import mock

import keras
import numpy as np

from keras_lip.certificates import certifier
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.linear import Linear
from keras_lip.program.proof_cache import forget_proofs


@contextlib.contextmanager
def patched_call(model):
    """A layer computes something else than what is read from it."""
    call = keras.layers.Dense.call

    def stretch(self, *args, **kwargs):
        return 1.5 * call(self, *args, **kwargs)

    with mock.patch.object(keras.layers.Dense, "call", stretch):
        yield


@contextlib.contextmanager
def stale_constant(model):
    """A layer runs on a constant that is another than the one it shows."""
    call = keras.layers.Normalization.call

    def run_stale(self, inputs):
        return call(self, inputs) + 0.125

    with mock.patch.object(keras.layers.Normalization, "call", run_stale):
        yield


@contextlib.contextmanager
def swapped_head(model):
    """A certificate is made for another head than the one that runs."""
    make = certifier.freeze

    def freeze(model, *args, **kwargs):
        head = model.layers[-1]
        before = head.get_weights()
        head.set_weights([weight[..., ::-1] for weight in before])
        try:
            return make(model, *args, **kwargs)
        finally:
            head.set_weights(before)

    with mock.patch.object(certifier, "freeze", freeze):
        yield


@contextlib.contextmanager
def divided_bound(model):
    """The norm of a dense layer is bounded by half of it."""
    prove = Dense.prove

    def halve(self, norm, shape):
        return 0.5 * prove(self, norm, shape)

    with mock.patch.object(Dense, "prove", halve):
        forget_proofs()
        yield
    forget_proofs()


@contextlib.contextmanager
def divided_pair_bounds(model):
    """The constants of the margins are half of what they are."""
    audit = sys.modules["keras_lip.certificates.audit"]
    find = audit.bound_pairs

    def halve(*args):
        found = find(*args)
        return found._replace(matrix=0.5 * np.asarray(found.matrix))

    with mock.patch.object(audit, "bound_pairs", halve):
        yield


@contextlib.contextmanager
def shrunk_program(model):
    """What is read computes a little less than what runs."""
    apply = Linear.apply

    def shrink(self, *inputs):
        return (1 - 1e-3) * apply(self, *inputs)

    with mock.patch.object(Linear, "apply", shrink):
        yield


FAULTS = (
    patched_call,
    stale_constant,
    swapped_head,
    divided_bound,
    divided_pair_bounds,
    shrunk_program,
)
