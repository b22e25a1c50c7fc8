import os
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
import pytest
from absl.testing import parameterized
from keras import ops

from keras_lip import autodiff
from keras_lip import callbacks
from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from keras_lip.losses import loss_terms
from keras_lip.replicas import sum_over_replicas
from tests import replica_runs
from tests.layers.every_layer import EVERY_LAYER
from tests.layers.every_layer import connect
from tests.lipschitz_test_case import LipschitzTestCase
from tests.losses.loss_cases import CASES as LOSS_CASES
from tests.marks import on_pytorch_alone

# Losses that compare means of classes.
COMPARISONS = {
    "KantorovichRubinstein": [1, 0, 0, 1, 1, 0],
    "HKR": [1, 0, 0, 1, 1, 0],
    "MulticlassHKR": [0, 1, 2, 0, 0, 1],
    "MultilabelHKR": [[1, 0], [0, 0], [1, 1], [0, 1], [0, 0], [1, 1]],
}
COLUMNS = {"KantorovichRubinstein": 1, "HKR": 1, "MultilabelHKR": 2}
TWO_PARTS = (slice(3), slice(3, 6))


@pytest.mark.slow
class ReplicaRunsTest(LipschitzTestCase):
    """`MirroredStrategy`, `DataParallel` and `DistributedDataParallel`.

    And `ModelParallel`, on JAX.
    """

    def test_replicas_train_what_one_device_does(self):
        """A single test: workers that share tests would each train it all."""
        self.folder = self.temporary_path("runs")
        self.folder.mkdir()
        backend = keras.backend.backend()
        process = subprocess.run(
            [
                *(sys.executable, "-m", "tests.replica_runs"),
                *(backend, str(self.folder)),
            ],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(process.returncode, 0, process.stderr[-3000:])
        for name in replica_runs.CASES:
            if name not in replica_runs.UNEQUAL:
                with self.subTest(name):
                    self.check_replicas(name)
        with self.subTest("metrics and callbacks"):
            self.check_parts()
        if backend == "jax":
            for name in replica_runs.SHARDED:
                with self.subTest(f"divided weights of {name}"):
                    self.check_divided_weights(name)
        with self.subTest("centering"):
            self.check_centering()

    def read(self, name):
        with np.load(self.folder / f"{name}.npz") as file:
            return dict(file)

    def check_replicas(self, name):
        """Two replicas are one device with the whole batch."""
        one, two = self.read(f"one_{name}"), self.read(f"two_{name}")
        self.assertEqual((one.pop("replicas"), two.pop("replicas")), (1, 2))
        self.assertEqual((one.pop("sharded"), two.pop("sharded")), (0, 0))
        logged = {key for key in one if key.startswith("logged ")}
        # Nothing logs in the loop of the PyTorch run.
        self.assertContainsSubset(one.keys() - logged, two.keys())
        self.assertContainsSubset(two.keys(), one.keys())
        kinds = {key.split()[0] for key in two}
        self.assertContainsSubset({"weight", "evaluated", "saved"}, kinds)
        if name == "layers":
            self.assertGreater(len([k for k in two if k[0] == "b"]), 10)
        self.assertSameRun(two, one)

    def check_parts(self):
        """All metrics and callbacks take part, and losses by their contract."""
        runs = [self.read(f"two_{name}").keys() for name in replica_runs.CASES]
        for make in find_classes(metrics):
            self.assertIn(f"evaluated {make().name}", set().union(*runs))
        used = [
            type(callback)
            for case in replica_runs.CASES.values()
            for callback in case.callbacks()
        ]
        self.assertCountEqual(used, find_classes(callbacks))

    def check_divided_weights(self, name):
        """Divided weights are those of one device."""
        one, shards = self.read(f"one_{name}"), self.read(f"shards_{name}")
        self.assertEqual((one.pop("replicas"), shards.pop("replicas")), (1, 2))
        self.assertEqual(one.pop("sharded"), 0)
        self.assertGreater(shards.pop("sharded"), 2)
        self.assertEqual(shards.keys(), one.keys())
        self.assertSameRun(shards, one)

    def check_centering(self):
        """Each replica centers its part of a batch, unless synchronized."""
        parts = 1 if keras.backend.backend() == "jax" else 2
        one, two = self.read("one_centering"), self.read("two_centering")
        for run, number in ((one, 1), (two, parts)):
            mean, kernel = self.train_centering(number)
            found = {key.rsplit("/")[-1]: value for key, value in run.items()}
            np.testing.assert_allclose(found["moving_mean"], mean, 1e-5)
            np.testing.assert_allclose(found["kernel"], kernel, 1e-5, 1e-5)
            x, _ = replica_runs.make_centering_data()
            np.testing.assert_allclose(
                run["saved 0"], (x - mean) @ kernel, 1e-4, 1e-4
            )
        difference = abs(one["saved 0"] - two["saved 0"]).max()
        (self.assertLess if parts == 1 else self.assertGreater)(difference, 0.1)

    def train_centering(self, parts):
        """Returns the moving mean and the kernel that training ends with."""
        x, y = map(np.float64, replica_runs.make_centering_data())
        size = replica_runs.BATCH_SIZE // parts
        mean, kernel = np.zeros(4), np.ones((4, 1))
        for _ in range(replica_runs.EPOCHS):
            for start in range(0, len(x), replica_runs.BATCH_SIZE):
                slopes, means = [], []
                for part in range(parts):
                    rows = slice(
                        start + part * size, start + part * size + size
                    )
                    centered = x[rows] - x[rows].mean(axis=0)
                    error = centered @ kernel - y[rows]
                    slopes.append(2 * centered.T @ error / size)
                    means.append(x[rows].mean(axis=0))
                kernel = kernel - 0.01 * np.mean(slopes, axis=0)
                # On PyTorch a process only knows the mean of its own part.
                own = means[0] if self.is_separate else np.mean(means, axis=0)
                mean = (mean + own) / 2
        return mean, kernel

    is_separate = keras.backend.backend() == "torch"

    def assertSameRun(self, found, expected):
        for key, value in found.items():
            # Sums over a batch are rounded in another order.
            np.testing.assert_allclose(
                value, expected[key], 1e-5, 1e-5, err_msg=key
            )


class ReplicasTest(LipschitzTestCase):
    @parameterized.parameters(*EVERY_LAYER)
    @on_pytorch_alone
    def test_state_of_every_layer_says_how_it_is_aggregated(self, name):
        """By default TensorFlow would keep a different one on each replica."""
        make, sample = EVERY_LAYER[name]
        layer = make(name=name)
        connect(name, layer, keras.Input(sample))
        for weight in layer.non_trainable_weights:
            expected = "only_first_replica"
            if isinstance(layer, layers.BatchCentering):
                expected = "mean"
            self.assertEqual(weight.aggregation, expected, weight.path)

    @on_pytorch_alone
    def test_sums_of_metrics_are_added_and_constants_are_not(self):
        for make in (
            metrics.BinaryCertifiedAccuracy,
            metrics.CertifiedAccuracy,
            metrics.MeanCertifiableRobustness,
            metrics.MeanCertifiedRadius,
        ):
            metric = make()
            model = make_model(metric)
            model.evaluate(np.eye(4), np.arange(4) % 2, verbose=0)
            found = {v.name: v.aggregation for v in metric.variables}
            self.assertEqual(found.pop("total"), "sum")
            self.assertEqual(found.pop("count"), "sum")
            for name in ("pair_bounds", "epsilon"):
                self.assertEqual(
                    found.pop(name, "only_first_replica"), "only_first_replica"
                )
            # Probes are run by all replicas alike, and summaries are sums.
            self.assertEqual(set(found.values()), {"mean"})

    def test_epsilon_of_losses_is_equal_everywhere(self):
        found = {
            name: [each.aggregation for each in loss.variables]
            for name, loss in (
                (name, case.build(**case.init_kwargs))
                for name, case in LOSS_CASES.items()
            )
            if getattr(loss, "variables", None)
        }
        self.assertContainsSubset({"EMMA", "GloRo"}, found)
        for name, aggregations in found.items():
            self.assertEqual(aggregations, ["only_first_replica"], name)

    def test_sum_without_replicas_is_the_tensor(self):
        tensor = ops.convert_to_tensor([1.0, 2.0])
        self.assertIs(sum_over_replicas(tensor), tensor)

    @parameterized.parameters(*COMPARISONS)
    def test_losses_of_parts_average_to_the_loss_of_the_whole(self, name):
        """As averaged by replicas, which add their counts up."""
        labels, scores = self.make_batch(name)
        whole, slope = self.run_loss(name, labels, scores, slice(None))
        parts = self.run_parts(name, labels, scores)
        self.assertAllClose(np.mean([value for value, _ in parts]), whole)
        self.assertAllClose(
            np.concatenate([gradient for _, gradient in parts]) / 2, slope
        )

    @parameterized.parameters(*COMPARISONS)
    def test_without_synchronization_each_part_has_means_of_its_own(self, name):
        labels, scores = self.make_batch(name)
        parts = [
            self.run_loss(name, labels, scores, part)[0] for part in TWO_PARTS
        ]
        whole, _ = self.run_loss(name, labels, scores, slice(None))
        self.assertGreater(abs(np.mean(parts) - whole), 1e-3)

    def test_part_of_one_class_adds_nothing_unless_synchronized(self):
        scores, labels = np.array([[4.0], [2.0]]), np.array([1, 0])
        self.assertAllClose(losses.KantorovichRubinstein()([1], [[4.0]]), 0.0)
        parts = [slice(1), slice(1, 2)]
        found = self.run_parts("KantorovichRubinstein", labels, scores, parts)
        self.assertAllClose([value for value, _ in found], [-8.0, 4.0])

    def test_synchronized_centering_without_replicas_is_centering(self):
        x = self.normal(5, 3, 2)
        found = []
        for synchronized in (False, True):
            layer = layers.BatchCentering(0.5, synchronized=synchronized)
            outputs = layer(x, training=True)
            # A batch without samples leaves the mean as it is.
            layer(x[:0], training=True)
            found.append((outputs, layer.moving_mean))
        for one, other in zip(*found, strict=True):
            self.assertAllClose(other, one)
        self.assertAllClose(found[1][1], x.mean(axis=(0, 1)) / 2)

    def test_synchronized_centering_adds_up_sums_and_counts(self):
        x = self.normal(6, 2)
        layer = layers.BatchCentering(0.0, synchronized=True)
        rest = np.array([*x[2:].sum(axis=0), 4.0], "float32")
        with mock.patch(
            "keras_lip.layers.normalization.batch_centering.sum_over_replicas",
            lambda tensor: tensor + rest,
        ):
            outputs = layer(x[:2], training=True)
        self.assertAllClose(outputs, x[:2] - x.mean(axis=0))
        self.assertAllClose(layer.moving_mean, x.mean(axis=0))

    @parameterized.parameters(*COMPARISONS, "BatchCentering")
    def test_synchronized_is_a_boolean(self, name):
        make = getattr(losses, name, None) or getattr(layers, name)
        with self.assertRaisesRegex(TypeError, "`synchronized` must be `True`"):
            make(synchronized="yes")
        instance = make(synchronized=True)
        self.run_serialization_test(instance)
        self.assertTrue(type(instance).from_config(instance.get_config()))
        # Files of older versions do not say it.
        config = instance.get_config()
        del config["synchronized"]
        self.assertFalse(type(instance).from_config(config).synchronized)

    def make_batch(self, name):
        columns = COLUMNS.get(name, 3)
        return np.array(COMPARISONS[name]), self.normal(6, columns)

    def run_loss(self, name, labels, scores, part, synchronized=False):
        loss = getattr(losses, name)(synchronized=synchronized)
        y = labels[part]
        scores = ops.convert_to_tensor(scores[part], "float32")
        slope = autodiff.gradient(lambda each: loss(y, each), scores)
        return float(loss(y, scores)), ops.convert_to_numpy(slope)

    def run_parts(self, name, labels, scores, parts=TWO_PARTS):
        counts = []

        def record(tensor):
            counts.append(ops.convert_to_numpy(tensor))
            return tensor

        with mock.patch.object(loss_terms, "sum_over_replicas", record):
            for part in parts:
                loss = getattr(losses, name)(synchronized=True)
                loss(labels[part], scores[part].astype("float32"))
        total = sum(counts)
        with mock.patch.object(
            loss_terms, "sum_over_replicas", lambda tensor: 0 * tensor + total
        ):
            return [
                self.run_loss(name, labels, scores, part, True)
                for part in parts
            ]


def find_classes(module):
    """Returns the public classes of a module."""
    public = [getattr(module, name) for name in module.__all__]
    return [each for each in public if isinstance(each, type)]


def make_model(metric):
    units = 1 if isinstance(metric, metrics.BinaryCertifiedAccuracy) else 3
    model = models.LipschitzSequential(
        [keras.Input((4,)), layers.OrthogonalDense(units)]
    )
    loss = "hkr" if units == 1 else "multiclass_hkr"
    model.compile("sgd", loss, metrics=[metric])
    return model
