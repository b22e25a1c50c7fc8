import keras
import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import assume
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_lip import layers
from tests.layers.every_layer import CASES
from tests.lipschitz_test_case import LipschitzTestCase
from tests.random_networks import faults
from tests.random_networks.checks import BrokenPromiseError
from tests.random_networks.checks import NetworkChecks
from tests.random_networks.checks import Tally
from tests.random_networks.draws import HypothesisDraws
from tests.random_networks.draws import SeededDraws
from tests.random_networks.networks import ANY
from tests.random_networks.networks import HEADS
from tests.random_networks.networks import MERGES
from tests.random_networks.networks import OF_RANK
from tests.random_networks.networks import PAIRED
from tests.random_networks.networks import Network

pytestmark = pytest.mark.slow


class RandomNetworksTest(LipschitzTestCase):
    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def test_what_is_certified_of_a_network_holds(self, data):
        network = Network(HypothesisDraws(data))
        assume(network.runs)
        rng = np.random.default_rng(0)
        NetworkChecks(network.model, rng, Tally()).run()

    def check_first(self, count, **kwargs):
        """Checks the first networks that a certificate is known for.

        Which these are changes with every layer that is new.
        """
        tally = Tally()
        for seed in range(1, 30):
            network = Network(SeededDraws(seed))
            if network.runs:
                rng = np.random.default_rng(seed)
                checks = NetworkChecks(network.model, rng, tally)
                before = tally.refused
                checks.run(changes=False, **kwargs)
                count -= tally.refused == before
            if not count:
                return tally
        self.fail("No certificate is known for the networks of 29 seeds")

    def test_artifacts_certify_no_more(self):
        # PyTorch's format is newer than the oldest Keras.
        is_new = keras.backend.backend() == "torch"
        with self.needs_newer_keras(when=is_new):
            tally = self.check_first(1, exports=True)
            self.assertEqual(tally.artifacts, 1)

    def test_evaluation_counts_what_is_certified(self):
        self.check_first(2, evaluates=True)

    def test_every_layer_is_drawn(self):
        tables = (ANY, PAIRED, *OF_RANK.values(), MERGES, HEADS)
        self.assertContainsSubset(CASES, set().union(*tables))


class PlantedFaultsTest(LipschitzTestCase):
    """The checks find mistakes that are made on purpose."""

    def setUp(self):
        super().setUp()
        inputs = keras.Input((3,))
        x = keras.layers.Normalization(
            mean=np.ones(3), variance=np.full(3, 4.0)
        )(inputs)
        x = layers.MaxMin()(layers.OrthogonalDense(6)(x))
        outputs = keras.layers.Dense(3)(x)
        self.model = keras.Model(inputs, outputs)

    def run_checks(self):
        rng = np.random.default_rng(0)
        tally = Tally()
        NetworkChecks(self.model, rng, tally, samples=256).run()
        self.assertEqual(tally.refused, 0)

    def test_nothing_is_found_where_nothing_is_wrong(self):
        self.run_checks()

    def test_faults_are_found(self):
        for fault in faults.FAULTS:
            with self.subTest(fault=fault.__name__):
                with fault(self.model):
                    with self.assertRaises(BrokenPromiseError):
                        self.run_checks()
