import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip import layers as lip
from keras_lip.bounds import contraction_bound
from keras_lip.bounds import lipschitz_bound
from keras_lip.program import freeze
from keras_lip.program import freeze_layer
from keras_lip.program.contracting import bound_contraction
from keras_lip.proofs.residual_bound import residual_contraction_bound
from tests.bounds.model_bound_test_case import ModelBoundTestCase
from tests.bounds.model_bound_test_case import scale
from tests.lipschitz_test_case import to_numpy


def linear_part(model, shape):
    """Returns the matrix of a model that computes a linear map and a bias."""
    program = freeze(model)
    size = int(np.prod(shape))
    basis = np.concatenate([np.zeros((1, size)), np.eye(size)])
    outputs = program.run(basis.reshape(-1, *shape)).reshape(size + 1, -1)
    return outputs[1:] - outputs[0]


class ContractionBoundTest(ModelBoundTestCase):
    def assertContraction(self, model, expected, norm=None, delta=1e-6):
        bound = contraction_bound(model, norm)
        self.assertIs(type(bound), float)
        self.assertLessEqual(bound, expected * (1 + 1e-15))
        self.assertAlmostEqual(bound, expected, delta=delta)
        self.assertStretches(model, bound, norm or "l2")

    def assertStretches(self, model, bound, norm="l2"):
        """No pair of inputs gets closer than the bound allows."""
        program = freeze(model)
        (shape,) = program.input_shapes
        order = 2 if norm == "l2" else np.inf
        x = self.rng.normal(size=(64, *shape))
        for step in (1e-3, 1.0, 10.0):
            y = x + step * self.rng.normal(size=x.shape)
            apart = (program.run(y) - program.run(x)).reshape(64, -1)
            before = (y - x).reshape(64, -1)
            stretch = np.linalg.norm(apart, order, axis=1) / np.linalg.norm(
                before, order, axis=1
            )
            self.assertGreaterEqual(stretch.min(), bound * (1 - 1e-9))

    @parameterized.parameters((3, 3), (3, 5), (1, 4))
    def test_a_dense_layer_has_its_smallest_singular_value(self, size, units):
        model = self.model(layers.Dense(units), (size,))
        smallest = self.singular_values(model.layers[1].kernel).min()
        self.assertContraction(model, smallest, delta=1e-12)

    def test_a_wide_orthogonal_layer_keeps_distances(self):
        model = self.model(lip.OrthogonalDense(6), (4,))
        self.assertContraction(model, 1.0)
        narrow = self.model(lip.OrthogonalDense(3), (4,))
        self.assertEqual(contraction_bound(narrow), 0.0)

    @parameterized.named_parameters(
        ("max_min", lip.MaxMin),
        ("full_sort", lip.FullSort),
        ("absolute_value", lip.AbsoluteValue),
        ("householder", lip.Householder),
        ("relu", layers.ReLU),
        ("truncation", lambda: lip.TruncateChannels(3)),
        ("softmax", layers.Softmax),
        ("tanh", lambda: layers.Activation("tanh")),
        ("centering", lip.LayerCentering),
        ("maximum", lambda: lambda x: layers.Maximum()([x, scale(2.0)(x)])),
    )
    def test_what_maps_different_inputs_to_one_output_has_none(self, make):
        self.assertEqual(contraction_bound(self.model(make(), (4,))), 0.0)

    @parameterized.named_parameters(
        ("downsampling", lip.InvertibleDownsampling2D),
        ("upsampling", lip.InvertibleUpsampling2D),
        ("shift", lambda: lip.SpatialShift2D(1 / 4)),
        ("padding", lambda: lip.PadChannels(7)),
        ("flatten", layers.Flatten),
        ("permute", lambda: layers.Permute((3, 1, 2))),
        ("zero_padding", layers.ZeroPadding2D),
        ("centering", lip.BatchCentering),
    )
    def test_what_moves_entries_keeps_distances(self, make):
        for norm in ("l2", "linf"):
            model = self.model(make(), (4, 4, 4))
            self.assertContraction(model, 1.0, norm)

    def test_a_shift_that_drops_pixels_has_none(self):
        model = self.model(
            lip.SpatialShift2D(1 / 4, padding_mode="zeros"), (4, 4, 4)
        )
        self.assertEqual(contraction_bound(model), 0.0)

    def test_the_least_slope_counts(self):
        self.assertContraction(self.model(scale([-2.0, 0.5, 3.0])), 0.5)
        self.assertContraction(self.model(layers.LeakyReLU(0.3)), 0.3)
        self.assertContraction(self.model(layers.LeakyReLU(3.0)), 1.0)
        slopes = self.model(layers.PReLU("ones"))
        slopes.layers[-1].set_weights([np.array([0.5, 2.0, 0.75])])
        self.assertContraction(slopes, 0.5)
        # A negative slope folds.
        slopes.layers[-1].set_weights([np.array([0.5, -0.5, 0.5])])
        self.assertEqual(contraction_bound(slopes), 0.0)
        self.assertEqual(
            contraction_bound(
                self.model(layers.ReLU(max_value=6.0, negative_slope=0.5))
            ),
            0.0,
        )
        model = self.model(layers.Activation("leaky_relu"))
        self.assertContraction(model, 0.2, delta=2e-3)

    def test_constants_may_be_rounded_to_float32(self):
        # 0.7 is rounded down, and 0.1 up.
        for factor in (0.7, 0.1):
            for model in (
                self.model(scale(factor)),
                self.model(layers.LeakyReLU(factor)),
            ):
                bound = contraction_bound(model)
                rounded = float(np.float32(factor))
                self.assertLess(bound, min(factor, rounded))
                self.assertGreater(bound, factor * (1 - 1e-6))

    def test_layers_in_16_bits_have_none(self):
        model = self.model(layers.Rescaling(1.0, 0.5, dtype="bfloat16"))
        self.assertEqual(contraction_bound(model), 0.0)

    @parameterized.named_parameters(
        ("plus", lambda x, g: x + g, 1 - 0.75),
        ("minus", lambda x, g: x - g, 1 - 0.75),
        ("other_order", lambda x, g: g + x, 1 - 0.75),
        ("weighted", lambda x, g: 2.0 * x + 0.5 * g, 2 - 0.375),
        ("average", lambda x, g: layers.Average()([x, g]), (1 - 0.75) / 2),
        ("concatenate", lambda x, g: layers.Concatenate()([x, g]), 1.0),
    )
    def test_branches_cancel_at_most_their_bounds(self, join, expected):
        model = self.model(lambda x: join(x, layers.ReLU()(scale(0.75)(x))))
        self.assertContraction(model, expected)
        self.assertContraction(model, expected, "linf")

    def test_concatenated_branches_add_their_squares(self):
        model = self.model(
            lambda x: layers.Concatenate()([scale(3.0)(x), scale(4.0)(x)])
        )
        self.assertContraction(model, 5.0, delta=1e-5)
        self.assertContraction(model, 4.0, "linf", delta=1e-5)

    def test_all_parts_together_are_the_whole(self):
        parts = self.model(
            lambda x: layers.Concatenate()([x[:, 2:], x[:, :1], x[:, 1:3]])
        )
        self.assertContraction(parts, 1.0)
        twice = self.model(lambda x: layers.Concatenate()([x, x[:, ::-1]]))
        self.assertContraction(twice, 2**0.5)
        missing = self.model(lambda x: layers.Concatenate()([x[:, :1]] * 3))
        self.assertEqual(contraction_bound(missing), 0.0)

    def test_residual_blocks_multiply(self):
        def function(x):
            for factor in (0.5, 0.4, 0.3):
                x = 2.0 * x
                x = x + layers.Activation("tanh")(scale(factor)(x))
            return x

        expected = 8 * 0.5 * 0.6 * 0.7
        self.assertContraction(self.model(function), expected, delta=1e-5)

    def test_nested_branches_are_bounded_from_their_last_common_tensor(self):
        def function(x):
            x = scale(2.0)(x)
            inner = layers.Activation("softsign")(x)
            inner = inner + layers.Activation("tanh")(scale(0.5)(inner))
            return x + scale(0.25)(inner)

        # 2 (1 - 0.25 * 1.5).
        self.assertContraction(self.model(function), 1.25)

    def test_a_tensor_used_past_a_join_does_not_cheat(self):
        # x - x is zero, whichever way it is spelled.
        def function(x):
            x = scale(2.0)(x)
            y = layers.Activation("leaky_relu")(x)
            return layers.Subtract()([y + x, x + y])

        self.assertEqual(contraction_bound(self.model(function)), 0.0)

    def test_convex_potentials_have_one_minus_step_times_square(self):
        model = self.model(lip.ConvexPotentialDense(5, step=0.25), (4,))
        kernel = np.zeros((4, 5))
        kernel[:, :4] = np.diag([1.0, 0.5, 1.5, 0.1])
        model.layers[1].kernel.assign(kernel)
        self.assertContraction(model, 1 - 0.25 * 1.5**2)
        # The default step reflects one direction.
        reflecting = self.model(lip.ConvexPotentialDense(5), (4,))
        self.assertEqual(contraction_bound(reflecting), 0.0)

    def test_ascent_of_a_convex_potential_only_stretches(self):
        dense = layers.Dense(3, use_bias=False)
        up = layers.Dense(3, activation="relu")
        model = self.model(lambda x: layers.Add()([x, dense(up(x))]))
        up.kernel.assign(3 * np.eye(3))
        dense.kernel.assign(3 * np.eye(3))
        self.assertContraction(model, 1.0)
        # Not so if the kernels differ.
        dense.kernel.assign(-3 * np.eye(3))
        self.assertEqual(contraction_bound(model), 0.0)
        dense.kernel.assign(3 * np.eye(3)[::-1])
        self.assertEqual(contraction_bound(model), 0.0)

    def test_scaled_potentials_have_one_minus_their_product(self):
        model = self.model(lip.SLLDense(2), (5,))
        self.assertEqual(contraction_bound(model), 0.0)
        (step,) = freeze(model).steps
        kernel, back = step.node.up.kernel, step.node.back / 4
        exact = np.linalg.eigvalsh(np.eye(5) - kernel @ back.T).min()
        bound = residual_contraction_bound(kernel, back)
        self.assertLessEqual(bound, exact + 1e-7)
        self.assertAlmostEqual(bound, exact, delta=1e-5)
        # Another map back may undo the identity.
        self.assertEqual(
            residual_contraction_bound(kernel, 100 * kernel[::-1]), 0.0
        )

    @parameterized.named_parameters(
        ("bcop", lambda: lip.BCOPConv2D(6, 3), (5, 4, 4), 1.0),
        ("bcop_even", lambda: lip.BCOPConv2D(4, 2), (3, 4, 4), 1.0),
        ("bcop_wide", lambda: lip.BCOPConv2D(4, 5), (3, 3, 2), 1.0),
        ("strides", lambda: lip.BCOPConv2D(16, 2, 2), (4, 4, 4), 1.0),
        ("narrow", lambda: lip.BCOPConv2D(3, 3), (4, 4, 4), 0.0),
        ("valid", lambda: lip.BCOPConv2D(4, 3, padding="valid"), (4, 4, 4), 0),
        (
            "zeros",
            lambda: lip.BCOPConv2D(4, 3, padding_mode="zeros"),
            (4, 4, 4),
            0.0,
        ),
        (
            "dropped_rows",
            lambda: lip.BCOPConv2D(15, 2, 2),
            (4, 4, 4),
            0.0,
        ),
        ("pixelwise", lambda: layers.Conv2D(4, 1), (3, 3, 4), None),
        ("soc", lambda: lip.SOCConv2D(4, 3), (4, 4, 4), 1.0),
        ("soc_wide", lambda: lip.SOCConv2D(6, 3), (4, 4, 4), 1.0),
        ("soc_narrow", lambda: lip.SOCConv2D(3, 3), (4, 4, 4), 0.0),
        ("groups", lambda: layers.Conv2D(4, 1, groups=2), (3, 3, 4), None),
    )
    def test_convolutions_that_see_all_frequencies(self, make, shape, expected):
        model = self.model(make(), shape)
        bound = contraction_bound(model)
        matrix = linear_part(model, shape)
        smallest = np.linalg.svd(matrix, compute_uv=False).min()
        if matrix.shape[0] > matrix.shape[1]:
            smallest = 0.0
        self.assertLessEqual(bound, smallest + 1e-9)
        if expected is not None:
            self.assertAlmostEqual(bound, expected, delta=1e-3)

    @parameterized.parameters((1, 1.0), (0, 0.0))
    def test_wrapping_must_reach_around_the_image(self, after, expected):
        conv = lip.BCOPConv1D(4, 3)
        conv.build((None, 5, 2))
        kernel = to_numpy(conv.kernel)

        def function(x):
            parts = [x[:, -1:], x, x[:, :after]][: 2 + after]
            return layers.Conv1D(4, 3)(layers.Concatenate(axis=1)(parts))

        model = self.model(function, (5, 2))
        model.layers[-1].kernel.assign(kernel)
        self.assertTrue(freeze(model).steps[-1].node.circular)
        bound = contraction_bound(model)
        matrix = linear_part(model, (5, 2))
        smallest = np.linalg.svd(matrix, compute_uv=False).min()
        self.assertLessEqual(bound, smallest + 1e-9)
        self.assertAlmostEqual(bound, expected, delta=1e-3)

    def test_full_zero_padding_sees_all_frequencies(self):
        conv = lip.BCOPConv1D(3, 3)
        conv.build((None, 5, 2))
        kernel = to_numpy(conv.kernel)
        model = self.model(
            lambda x: layers.Conv1D(3, 3)(layers.ZeroPadding1D(2)(x)), (5, 2)
        )
        model.layers[-1].kernel.assign(kernel)
        smallest = np.linalg.svd(
            linear_part(model, (5, 2)), compute_uv=False
        ).min()
        bound = contraction_bound(model)
        self.assertLessEqual(bound, smallest + 1e-9)
        self.assertAlmostEqual(bound, 1.0, delta=1e-3)

    def test_slices_of_time_share_the_bound(self):
        model = self.model(layers.TimeDistributed(layers.Dense(4)), (3, 2))
        kernel = model.layers[-1].layer.kernel
        smallest = self.singular_values(kernel).min()
        self.assertContraction(model, smallest, delta=1e-12)

    def test_numbers_that_are_not_finite_prove_nothing(self):
        model = self.model(lambda x: x + scale(0.5)(layers.Dense(3)(x)))
        for value in (np.nan, np.inf):
            model.layers[1].kernel.assign(np.full((3, 3), value))
            self.assertEqual(contraction_bound(model), 0.0)

    def test_it_is_at_most_the_lipschitz_bound(self):
        model = self.model(
            lambda x: lip.OrthogonalDense(4)(x) * 0.3 + 5.0, (3,)
        )
        low, high = contraction_bound(model), lipschitz_bound(model)
        self.assertLessEqual(low, high)
        self.assertAlmostEqual(low, high, delta=1e-6)

    def test_a_program_of_several_inputs_has_none(self):
        program = freeze_layer(layers.Add(), [(2,), (2,)])
        self.assertEqual(bound_contraction(program, "l2"), 0.0)

    def test_models_without_a_lipschitz_bound_are_refused(self):
        with self.assertRaisesRegex(ValueError, "LayerNormalization"):
            contraction_bound(self.model(layers.LayerNormalization()))
        with self.assertRaisesRegex(TypeError, "`keras.Model` is expected"):
            contraction_bound(layers.Dense(3))
