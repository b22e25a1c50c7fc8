from absl.testing import parameterized

from keras_lip.backend import check_version
from tests.lipschitz_test_case import LipschitzTestCase


class CheckVersionTest(LipschitzTestCase):
    @parameterized.parameters("0.4.38", "0.5.3", "0.5.3.dev20250301+cafe")
    def test_jax_that_corrupts_weights_is_refused(self, version):
        with self.assertRaisesRegex(ImportError, "jax>=0.6.*Received: JAX 0"):
            check_version("jax", version)

    @parameterized.parameters(
        ("jax", "0.6.0"),
        ("jax", "0.10.2"),
        ("jax", "1.0.0"),
        ("jax", "0.6.0.dev20250401"),
        ("torch", "0.5"),
    )
    def test_others_are_accepted(self, backend, version):
        check_version(backend, version)
