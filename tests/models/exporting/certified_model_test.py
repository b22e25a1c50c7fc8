import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip import parametrizations
from keras_lip.bounds.common_norm import common_norm
from keras_lip.certificates.curvature.certifier import CurvatureCertifier
from keras_lip.certificates.curvature.margins import CurvatureMargins
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.models.exporting.certified_model import certified_model
from keras_lip.program import freeze
from keras_lip.program import freeze_layer
from keras_lip.proofs import rounding
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

TOLERANCE = 2.0**-18


def make_head():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.OrthogonalDense(8),
            layers.MaxMin(),
            layers.UnitNormDense(4, bias_initializer="normal"),
        ]
    )


def make_joint():
    return keras.Sequential(
        [keras.Input((6,)), layers.OrthogonalDense(4), layers.MaxMin()]
    )


def make_single():
    return keras.Sequential(
        [keras.Input((6,)), layers.OrthogonalDense(8), layers.UnitNormDense(1)]
    )


def make_branches():
    inputs = keras.Input((6,))
    branches = [layers.UnitNormDense(1)(inputs) for _ in range(3)]
    branches.append(layers.LipschitzScale(3.0)(branches.pop()))
    return keras.Model(inputs, keras.layers.Concatenate()(branches))


def make_linf():
    return keras.Sequential(
        [keras.Input((6,)), layers.LinfDense(8), layers.LinfDense(4)]
    )


def make_conv():
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.AOLConv2D(4, 3),
            layers.MaxMin(),
            keras.layers.Flatten(),
            layers.UnitNormDense(3),
        ]
    )


def make_estimated():
    # What runs is divided by an estimated norm.
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.LipschitzDense(8, parametrization="spectral"),
            layers.ConvexPotentialDense(5),
            layers.UnitNormDense(4),
        ]
    )


def make_curvature(units=4):
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.OrthogonalDense(5),
            layers.LipschitzScale(3.0),
            layers.CurvatureHead(
                units, 7, kernel_initializer="normal", bias_initializer="normal"
            ),
        ]
    )


def make_binary_curvature():
    return make_curvature(1)


MAKERS = (
    make_head,
    make_joint,
    make_single,
    make_branches,
    make_linf,
    make_conv,
    make_estimated,
    make_curvature,
    make_binary_curvature,
)


def find_bounds(model):
    program = freeze(model)
    return bound_pairs(program, program.bounds(common_norm(model)))


def export(model, tolerance=TOLERANCE):
    return certified_model(
        freeze(model), model.name, find_bounds(model), tolerance
    )


class CertifiedModelTest(LipschitzTestCase):
    def run_exported(self, model, x, tolerance=TOLERANCE):
        exported, _ = export(model, tolerance)
        return {key: to_numpy(value) for key, value in exported(x).items()}

    def inputs_of(self, model, count=24):
        return self.normal(count, *model.inputs[0].shape[1:])

    @parameterized.parameters(*MAKERS)
    def test_radii_are_those_of_certify_less_the_tolerance(self, make):
        model = make()
        x = self.inputs_of(model)
        found = self.run_exported(model, x)
        proven = certificates.certified_radius(model, x)
        self.assertAllClose(found["logits"], model(x), atol=1e-5)
        logits = found["logits"]
        labels = (
            logits[:, 0] > 0
            if logits.shape[1] == 1
            else np.argmax(logits, axis=1)
        )
        self.assertAllClose(found["label"], labels, 0, 0)
        self.assertEqual(found["label"].dtype, np.int32)
        radii = found["radius"].astype("float64")
        self.assertTrue(np.all(radii <= proven))
        # The tolerance takes 2^-17 of magnitudes of some units. The dual of a
        # curvature head is larger than the closed form.
        share = 0.4 if "curvature" in make.__name__ else 1.0
        self.assertTrue(np.all(radii >= share * proven - 3e-4))
        self.assertGreater(np.median(radii), 0.01)

    def test_radii_of_a_linear_network_are_the_true_distances(self):
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.OrthogonalDense(6),
                layers.UnitNormDense(4, bias_initializer="normal"),
            ]
        )
        x = self.inputs_of(model)
        eye = to_numpy(model(np.eye(6))).astype("float64")
        offset = to_numpy(model(np.zeros((1, 6)))).astype("float64")
        matrix = eye - offset
        logits = x @ matrix + offset
        label = np.argmax(logits, axis=1)
        rows = np.arange(len(x))
        margins = logits[rows, label][:, None] - logits
        lengths = np.linalg.norm(
            matrix.T[label][:, None] - matrix.T[None], axis=2
        )
        lengths[rows, label] = 1
        margins[rows, label] = np.inf
        true = np.min(margins / lengths, axis=1)
        found = self.run_exported(model, x)["radius"]
        self.assertTrue(np.all(found <= true * (1 + 1e-6)))
        self.assertAllClose(found, true, atol=2e-4, rtol=1e-4)

    @parameterized.parameters(0.0, TOLERANCE, 2.0**-6)
    def test_roundings_of_float32_never_enlarge_a_radius(self, tolerance):
        # From the runtime's own logits, in exact arithmetic.
        model = make_head()
        bounds = find_bounds(model)
        scales = np.exp(self.rng.uniform(-30, 30, (4096, 1)))
        x = (self.normal(4096, 6) * scales).astype("float32")
        found = self.run_exported(model, x, tolerance)
        logits = found["logits"].astype("float64")
        rows = np.arange(len(x))
        label = np.argmax(logits, axis=1)
        size = bounds.lipschitz_bound * np.linalg.norm(
            x.astype("float64"), axis=1
        )
        size += np.max(np.abs(logits), axis=1)
        margins = logits[rows, label][:, None] - logits
        margins -= 2 * tolerance * size[:, None]
        exact = margins / (bounds.matrix + np.eye(4))[label]
        exact[rows, label] = np.inf
        exact = np.maximum(np.min(exact, axis=1), 0)
        radii = found["radius"].astype("float64")
        self.assertTrue(np.all(radii <= exact * (1 - 2.0**-24)))
        lost = tolerance * size / bounds.matrix[label].max(1)
        least = exact - 2.0**-18 * exact - 2.0**-14 * lost
        self.assertTrue(np.all(radii >= least))

    @parameterized.parameters(make_head, make_single, make_curvature)
    def test_what_is_not_finite_has_radius_zero(self, make):
        model = make()
        x = self.inputs_of(model, 7)
        x[0, 2], x[1, 0], x[2, 1] = np.nan, np.inf, -np.inf
        x[3], x[4, 0] = 1e30, 1e38
        radii = self.run_exported(model, x)["radius"]
        self.assertAllClose(radii[:5], np.zeros(5), 0, 0)
        self.assertTrue(np.all(radii[5:] > 0))

    def test_ties_have_radius_zero_and_the_first_label(self):
        model = keras.Sequential([keras.Input((4,)), layers.UnitNormDense(4)])
        model.layers[0].set_weights([np.eye(4), np.zeros(4)])
        x = np.array(
            [[1, 1, 0, 0], [0, 0, 0, 0], [0, 2, 1, 2], [0, 0, 0, 1]], "float32"
        )
        found = self.run_exported(model, x)
        self.assertAllClose(found["label"], [0, 0, 1, 3], 0, 0)
        self.assertAllClose(found["radius"][:3], np.zeros(3), 0, 0)
        self.assertAllClose(found["radius"][3], np.sqrt(0.5), 1e-4)

    def test_duplicate_classes_have_radius_zero(self):
        model = make_joint()
        head = keras.layers.Dense(3)
        model.add(head)
        kernel = self.normal(4, 3)
        kernel[:, 1] = kernel[:, 0]
        head.set_weights([kernel, np.array([50.0, 50.0, 0.0])])
        radii = self.run_exported(model, self.inputs_of(model))["radius"]
        self.assertAllClose(radii, np.zeros(24), 0, 0)

    def test_larger_tolerances_give_smaller_radii(self):
        model = make_head()
        x = self.inputs_of(model)
        radii = [
            self.run_exported(model, x, tolerance)["radius"]
            for tolerance in (0.0, 2.0**-10, 2.0**-4)
        ]
        self.assertTrue(np.all(radii[0] >= radii[1]))
        self.assertTrue(np.all(radii[1] >= radii[2]))
        self.assertGreater(np.sum(radii[1] > radii[2]), 10)

    def test_tables_are_weights_and_equal_constants_are_none(self):
        def count(model):
            exported, _ = export(model)
            return exported.count_params()

        # Twice the square of 200 float32 numbers and no text.
        model = keras.Sequential([keras.Input((3,)), layers.UnitNormDense(200)])
        self.assertEqual(count(model), 200 * 200 + 4 * 200)
        model = keras.Sequential(
            [keras.Input((3,)), layers.OrthogonalDense(200), layers.MaxMin()]
        )
        self.assertEqual(count(model), 4 * 200)

    @parameterized.parameters(make_head, make_curvature)
    def test_model_is_of_stock_layers(self, make):
        model = make()
        exported, _ = export(model)
        self.assertStock(exported)
        self.assertEqual(exported.inputs[0].name, "inputs")
        self.assertEqual(exported.inputs[0].shape[0], None)

    def test_curvature_counts_where_it_is_larger(self):
        # A flat part of the head: the slope is far below its bound.
        model = make_curvature(2)
        head = model.layers[-1]
        head.set_weights(
            [
                np.eye(5, 7) * 0.1,
                np.full(7, -3.0),
                np.concatenate([np.ones((7, 1)), -np.ones((7, 1))], axis=1),
                np.array([0.5, 0.0]),
            ]
        )
        x = 0.1 * self.inputs_of(model)
        found = self.run_exported(model, x)
        bounds = find_bounds(model)
        logits = found["logits"]
        margins = np.abs(logits[:, 0] - logits[:, 1])
        self.assertTrue(
            np.all(found["radius"] > 2 * margins / bounds.matrix[0, 1])
        )
        proven = certificates.certified_radius(model, x)
        self.assertTrue(np.all(found["radius"] <= proven))

    def test_curvature_radii_are_those_of_the_closed_form(self):
        model = make_curvature(3)
        bounds = find_bounds(model)
        weights = freeze_layer(model.layers[-1]).steps[0].node
        head, tolerance = CurvatureCertifier(weights), 2.0**-12
        x = self.inputs_of(model)
        features = to_numpy(model.layers[1](model.layers[0](x))).astype(
            "float64"
        )
        label = np.argmax(to_numpy(model(x)), axis=1)
        margins = CurvatureMargins(weights)
        outer, offsets = margins.compare(label[:, None], np.arange(3))
        cheap = head._cheap_radii(
            margins(features[:, None], outer, offsets), outer
        )
        cheap[np.arange(len(x)), label] = np.inf
        size = bounds.trunk_bound * np.linalg.norm(x, axis=1)
        size += np.linalg.norm(features, axis=1)
        exact = np.min(cheap, axis=1)
        for share, delta in (0.0, 1e-4), (tolerance, 0.3):
            found = self.run_exported(model, x, share)["radius"]
            least = np.maximum(exact - share * size, 0) / bounds.trunk_bound
            self.assertTrue(np.all(found <= least + 1e-6))
            self.assertAllClose(found, least, atol=delta)

    def test_error_of_features_counts_that_the_head_does_not_see(self):
        model = make_curvature(3)
        bounds = find_bounds(model)
        trunk = keras.Sequential(model.layers[:2])
        # What the trunk leaves out moves no feature, but makes inputs long.
        matrix = to_numpy(trunk(np.eye(6))) - to_numpy(trunk(np.zeros((1, 6))))
        left_out = np.linalg.svd(matrix)[0][:, -1]
        x = self.inputs_of(model)
        tolerance, far = 2.0**-14, 400.0
        near = self.run_exported(model, x, tolerance)["radius"]
        moved = self.run_exported(
            model, (x + far * left_out).astype("float32"), tolerance
        )["radius"]
        # The trunk stretches by three, which cancels in the radius.
        self.assertAllClose(bounds.trunk_bound, 3.0, 1e-4)
        self.assertGreater(np.median(moved), 0)
        loss = near - moved
        self.assertAllClose(
            loss[moved > 0], (tolerance * far), rtol=0.05, atol=1e-3
        )

    def test_model_is_exported_as_it_runs(self):
        # An estimate is far too low: the bound says so, and no kernel is
        # divided by it.
        estimated = layers.LipschitzDense(
            8, parametrization=parametrizations.Spectral(inference_iterations=1)
        )
        model = keras.Sequential(
            [keras.Input((6,)), estimated, layers.UnitNormDense(4)]
        )
        kernel = self.normal(6, 8)
        estimated.free_kernel.assign(kernel)
        _, _, right = np.linalg.svd(kernel)
        estimated.non_trainable_weights[0].assign(right[3:4])
        self.assertGreater(estimated.lipschitz_bound(), 1.1)
        x = self.inputs_of(model)
        found = self.run_exported(model, x)
        self.assertAllClose(found["logits"], model(x), atol=1e-5)
        proven = certificates.certified_radius(model, x)
        self.assertTrue(np.all(found["radius"] <= proven))

    def test_share_of_the_tolerance_is_that_of_the_worst_logit(self):
        model = make_head()
        bounds = find_bounds(model)
        _, radius = export(model, 0.125)
        x, logits = np.zeros((2, 6)), np.zeros((2, 4))
        x[0, 0] = x[1, 0] = 2 / rounding.up(bounds.lipschitz_bound)
        found = np.zeros((2, 4))
        found[1, 3] = 2.0
        # An error of 2, of which a share of (2 + 2) / 8 is allowed.
        self.assertAllClose(radius.check(x, logits, found), 4.0)
        self.assertAllClose(radius.check(x, found, found), 0.0)
        found[1, 3] = np.nan
        self.assertEqual(radius.check(x, logits, found), np.inf)

    def test_what_cannot_be_exported_is_refused(self):
        inputs = keras.Input((None, None, 3))
        x = layers.AOLConv2D(2, 3)(inputs)
        outputs = keras.layers.GlobalMaxPooling2D()(x)
        self.check_refused(keras.Model(inputs, outputs), "inputs of known")
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.UnitNormDense(2, dtype="mixed_bfloat16"),
            ]
        )
        self.check_refused(model, "layer '.*' in bfloat16")
        model = keras.Sequential([keras.Input((3,)), layers.UnitNormDense(2)])
        model.add(layers.LipschitzScale(1e25))
        self.check_refused(model, "must be at most 4.29e.09, .*e.2[45]")

    def check_refused(self, model, message):
        with self.assertRaisesRegex(ValueError, message):
            export(model)
