from unittest import mock

import keras
import numpy as np

import keras_lip as kl
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_benchmark
from tests.marks import on_pytorch_alone

IMAGES = np.random.default_rng(0).normal(size=(2, 4, 4, 6)).astype("float32")


@on_pytorch_alone
class LayerPeersTest(LipschitzTestCase):
    def make_pairs(self, peers):
        self.made = []

        def make_layer(name):
            layer = kl.layers.OSSNConv2D(6, 3, padding_mode="circular")
            self.made.append((name, layer))
            return layer

        with mock.patch.object(self.module, "_make_peers", lambda *_: peers):
            return self.module.make_pairs(make_layer, IMAGES, 3, "circular")

    def setUp(self):
        super().setUp()
        self.module = load_benchmark("layer_peers")

    def test_both_layers_of_a_pair_are_trained(self):
        import torch

        torch.manual_seed(0)
        plain, peer = [torch.nn.Conv2d(6, 6, 3, padding=1) for _ in range(2)]
        before = peer.weight.detach().numpy().copy()
        names = list(self.module.PEERS)
        steps = self.make_pairs({names[0]: plain, names[1]: peer})
        self.assertEqual(list(steps), [*names[:2], "OSSNConv2D"])
        ((method, ours),) = self.made
        self.assertEqual(method, "OSSNConv2D")
        weights = [np.array(weight) for weight in ours.get_weights()]
        inputs = torch.tensor(np.moveaxis(IMAGES, -1, 1))
        with torch.no_grad():
            loss = peer(inputs).square().mean().item()
        self.assertAllClose(steps[names[1]](), loss)
        self.assertLess(steps[names[1]](), loss)
        loss = steps["OSSNConv2D"]()
        for _ in range(50):
            steps["OSSNConv2D"]()
        self.assertLess(steps["OSSNConv2D"](), loss)
        self.assertGreater(np.abs(peer.weight.detach() - before).max(), 0)
        # The state of the power iteration moves as well.
        for old, new in zip(weights, ours.get_weights(), strict=True):
            self.assertGreater(np.abs(old - new).max(), 0)

    def test_there_is_nothing_to_compare_without_peers(self):
        import torch

        plain = next(iter(self.module.PEERS))
        self.assertEqual(self.make_pairs({plain: torch.nn.Conv2d(6, 6, 3)}), {})

    def test_other_backends_have_no_modules_to_compare(self):
        import torch

        layers = {name: torch.nn.Conv2d(6, 6, 3) for name in self.module.PEERS}
        with mock.patch.object(keras.backend, "backend", lambda: "jax"):
            self.assertEqual(self.make_pairs(layers), {})
        self.assertEqual(self.made, [])

    def test_methods_are_candidates_of_the_benchmark(self):
        candidates = load_benchmark("layers").CANDIDATES
        for method in filter(None, self.module.PEERS.values()):
            self.assertIn(method, candidates)

    def test_table_has_each_peer_beside_its_method(self):
        plain, spectral, aol, *_ = self.module.PEERS
        text = self.module.format_pairs(
            {plain: 10.0, spectral: 12.0, "OSSNConv2D": 9.0}
        )
        self.assertEqual(
            text.splitlines()[2:],
            [
                f"| {plain} | 10.0 | – | – | – |",
                f"| {spectral} | 12.0 | OSSNConv2D | 9.0 | 0.75 |",
            ],
        )
        self.assertNotIn(aol, text)
