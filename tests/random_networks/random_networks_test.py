import keras
import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import assume
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.random_networks import faults
from tests.random_networks.checks import BrokenPromiseError
from tests.random_networks.checks import NetworkChecks
from tests.random_networks.checks import Tally
from tests.random_networks.draws import HypothesisDraws
from tests.random_networks.draws import SeededDraws
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

    def test_artifacts_certify_no_more(self):
        tally = Tally()
        network = Network(SeededDraws(1))
        checks = NetworkChecks(network.model, np.random.default_rng(1), tally)
        checks.run(exports=True, changes=False)
        self.assertEqual(tally.artifacts, 1)

    def test_evaluation_counts_what_is_certified(self):
        tally = Tally()
        for seed in (1, 5):
            network = Network(SeededDraws(seed))
            rng = np.random.default_rng(seed)
            checks = NetworkChecks(network.model, rng, tally)
            checks.run(evaluates=True, changes=False)
        self.assertEqual(tally.refused, 0)


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
