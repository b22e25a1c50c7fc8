from absl.testing import parameterized

from keras_lip.backend import check_jax
from tests.lipschitz_test_case import LipschitzTestCase


class CheckJAXTest(LipschitzTestCase):
    @parameterized.parameters("0.4.38", "0.5.3", "0.5.3.dev20250301+cafe")
    def test_versions_that_corrupt_weights_are_refused(self, version):
        with self.assertRaisesRegex(ImportError, "jax>=0.6.*Received: JAX 0"):
            check_jax(version)

    @parameterized.parameters("0.6.0", "0.10.2", "1.0.0", "0.6.0.dev20250401")
    def test_others_are_accepted(self, version):
        check_jax(version)
