import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import labels
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class LossLabelsTest(LipschitzTestCase):
    @parameterized.parameters([[0, 1, 1]], [[-1, 1, 1]], [[False, True, True]])
    def test_binary_labels_become_signs(self, y_true):
        signs = labels.to_signs(y_true, np.zeros((3, 1)))
        self.assertAllClose(signs, [[-1.0], [1.0], [1.0]])

    @parameterized.parameters(2, -2, 0.5, float("nan"), float("inf"))
    def test_other_binary_labels_are_refused(self, label):
        with self.assertRaisesRegex(
            ValueError,
            "Labels must be 0 and 1, or -1 and 1, and not a mixture of 0 and "
            rf"-1. Received: y_true=\[\[{float(label)}\]\], among the 2 "
            "wrong labels of a batch of 4",
        ):
            labels.to_signs([0, label, 1, label], np.zeros(4))

    @parameterized.parameters(
        labels.to_signs, labels.to_sign_rows, labels.to_one_hot
    )
    def test_names_of_classes_are_refused(self, encode):
        for y_true in (["cat", "dog"], np.array([["cat"], ["dog"]]), None):
            with self.assertRaisesRegex(
                TypeError,
                "Labels must be numbers. .* Received: y_true of dtype",
            ):
                encode(y_true, np.zeros((2, 1)))

    def test_mixture_of_both_binary_label_sets_is_refused(self):
        with self.assertRaisesRegex(
            ValueError, r"a mixture of 0 and -1. .*\[\[-1.0\], \[0.0\]\]"
        ):
            labels.to_signs([1, -1, 0, -1], np.zeros(4))

    @parameterized.parameters(
        [[[0, 1, 1], [1, 0, 0]]], [[[-1, 1, 1], [1, -1, -1]]]
    )
    def test_rows_of_binary_labels_become_signs(self, y_true):
        signs = labels.to_sign_rows(y_true, np.zeros((2, 3)))
        self.assertAllClose(signs, [[-1.0, 1.0, 1.0], [1.0, -1.0, -1.0]])

    @parameterized.parameters(
        ([[0, 1], [2, 1]], r"\[\[2.0, 1.0\]\], among the 1 wrong"),
        ([[0, 1], [1, -1]], r"\[\[0.0, 1.0\], \[1.0, -1.0\]\], among"),
        ([[1, 1], [1, float("nan")]], r"\[\[1.0, nan\]\], among"),
    )
    def test_other_rows_of_binary_labels_are_refused(self, y_true, wrong):
        with self.assertRaisesRegex(ValueError, "Labels must be 0 .*" + wrong):
            labels.to_sign_rows(y_true, np.zeros((2, 2)))

    @parameterized.parameters(
        ((4,), (4, 1)),
        ((4, 2), (4, 3)),
        ((3, 2), (4, 2)),
        ((4,), (4,)),
        ((4, 2, 1), (4, 2, 1)),
        ((), ()),
    )
    def test_rows_of_another_shape_are_refused(self, shape, scores):
        with self.assertRaisesRegex(
            ValueError, "Rows of binary labels and scores must have the same"
        ) as caught:
            labels.to_sign_rows(np.zeros(shape), np.zeros(scores))
        self.assertIn(
            f"Received: y_true.shape={shape}, y_pred.shape={scores}",
            str(caught.exception),
        )

    def test_wide_rows_are_cut_in_the_error(self):
        with self.assertRaisesRegex(ValueError, "single 1 in each") as caught:
            labels.to_one_hot(np.zeros((2, 1000)), np.zeros((2, 1000)))
        self.assertLess(len(str(caught.exception)), 200)

    @parameterized.parameters(
        ((4, 2), (4, 1)),
        ((4,), (4, 2)),
        ((4,), (3, 1)),
        ((4, 1, 1), (4, 1)),
        ((), (1,)),
        ((4,), ()),
    )
    def test_binary_labels_of_another_shape_are_refused(self, shape, scores):
        with self.assertRaisesRegex(
            ValueError, "Binary labels and scores must have shape"
        ) as caught:
            labels.to_signs(np.zeros(shape), np.zeros(scores))
        self.assertIn(
            f"Received: y_true.shape={shape}, y_pred.shape={scores}",
            str(caught.exception),
        )

    @parameterized.parameters(
        [[2, 0, 1]], [[[2], [0], [1]]], [[[0, 0, 1], [1, 0, 0], [0, 1, 0]]]
    )
    def test_classes_become_one_hot_rows(self, y_true):
        one_hot = labels.to_one_hot(y_true, np.zeros((3, 3)))
        self.assertAllClose(one_hot, np.eye(3)[[2, 0, 1]])

    def test_many_classes_do_not_overflow_small_integers(self):
        y_true = np.array([0, 255], dtype="uint8")
        one_hot = labels.to_one_hot(y_true, np.zeros((2, 300)))
        self.assertAllClose(one_hot, np.eye(300)[[0, 255]])

    @parameterized.parameters(10, -1, 1.5, 2.0**32, float("nan"))
    def test_index_of_no_class_is_refused(self, label):
        with self.assertRaisesRegex(
            ValueError, "Labels must be integers from 0 to 9. Received: "
        ) as caught:
            labels.to_one_hot(np.array([3, label]), np.zeros((2, 10)))
        self.assertIn(f"y_true=[[{float(label)}]]", str(caught.exception))

    @parameterized.parameters(
        [[0, 0, 0]], [[1, 1, 0]], [[0.5, 0.5, 0]], [[1, 2, 0]]
    )
    def test_row_that_is_not_one_hot_is_refused(self, row):
        with self.assertRaisesRegex(
            ValueError, "Labels must contain a single 1 in each row"
        ):
            labels.to_one_hot([[0, 1, 0], row], np.zeros((2, 3)))

    @parameterized.parameters(
        ((4,), (3, 3)),
        ((4, 1), (3, 3)),
        ((4, 2), (4, 3)),
        ((4, 3), (3, 3)),
        ((4, 3, 3), (4, 3)),
        ((4,), (4, 1)),
        ((4, 1), (4, 1)),
        ((4,), (4,)),
        ((4, 3), (4,)),
        ((), (4, 3)),
        ((4,), (4, 2, 3)),
    )
    def test_classes_of_another_shape_are_refused(self, shape, scores):
        with self.assertRaisesRegex(ValueError, "with .*two classes") as caught:
            labels.to_one_hot(np.zeros(shape), np.zeros(scores))
        self.assertIn(
            f"Received: y_true.shape={shape}, y_pred.shape={scores}",
            str(caught.exception),
        )

    def test_distributions_pass(self):
        rows = [[0.2, 0.8], [1.0, 0.0]]
        self.assertAllClose(
            labels.to_distribution(rows, np.zeros((2, 2))), rows
        )

    def test_distributions_rounded_to_bfloat16_pass(self):
        row = np.full(10, 0.01)
        row[3] = 0.91
        rounded = keras.ops.cast(row[None], "bfloat16")
        encoded = labels.to_distribution(rounded, np.zeros((1, 10)))
        self.assertNotEqual(to_numpy(encoded).sum(), 1.0)
        self.assertAllClose(encoded, row[None], atol=1e-2)

    @parameterized.parameters(
        ((4,), (4, 3)),
        ((4,), (4,)),
        ((4, 1), (4, 1)),
        ((4, 2), (4, 3)),
        ((3, 2), (4, 2)),
        ((4, 3, 3), (4, 3, 3)),
    )
    def test_distributions_of_another_shape_are_refused(self, shape, scores):
        with self.assertRaisesRegex(
            ValueError, "Rows of labels and scores must have the same shape"
        ):
            labels.to_distribution(np.ones(shape), np.zeros(scores))

    @parameterized.parameters(
        [[0.5, 0.4]], [[1.5, -0.5]], [[float("nan"), 1.0]]
    )
    def test_row_that_is_no_distribution_is_refused(self, row):
        with self.assertRaisesRegex(
            ValueError, "Labels must be probabilities that sum to 1"
        ):
            labels.to_distribution([[0.5, 0.5], row], np.zeros((2, 2)))

    @parameterized.parameters(
        (labels.to_signs, (None,), (None, 1), True),
        (labels.to_signs, (None, None), (None, 1), False),
        (labels.to_signs, (None,), (4, 1), True),
        (labels.to_one_hot, (None, 1), (None, 3), True),
        (labels.to_one_hot, (None, 3), (None, 3), True),
        (labels.to_one_hot, (None, None), (None, 3), False),
        (labels.to_one_hot, (None,), (None, None), False),
        (labels.to_distribution, (None, 3), (None, 3), True),
        (labels.to_sign_rows, (None, 3), (None, 3), True),
        (labels.to_sign_rows, (None, None), (None, 3), False),
    )
    def test_shapes_are_checked_on_symbolic_tensors(
        self, encode, shape, scores, fits
    ):
        if keras.backend.backend() != "tensorflow":
            self.skipTest("Only TensorFlow traces axes of unknown size.")
        y_true, y_pred = keras.KerasTensor(shape), keras.KerasTensor(scores)
        if fits:
            outputs = _Encode(encode)(y_true, y_pred)
            self.assertEqual(outputs.shape[1], scores[1])
        else:
            with self.assertRaisesRegex(ValueError, "Received: y_true.shape"):
                _Encode(encode)(y_true, y_pred)


class MetricLabelsTest(LipschitzTestCase):
    @parameterized.parameters(
        ([2, 0],), ([[2], [0]],), ([[0, 0, 1], [1, 0, 0]],), ([2.0, 0.0],)
    )
    def test_every_form_gives_the_same_rows(self, y_true):
        one_hot = labels.to_class_rows(ops.convert_to_tensor(y_true), 3)
        self.assertAllClose(one_hot, [[0, 0, 1], [1, 0, 0]])

    @parameterized.parameters(([0, 1],), ([-1, 1],), ([[-1.0], [1.0]],))
    def test_binary_labels_have_two_columns(self, y_true):
        one_hot = labels.to_class_rows(ops.convert_to_tensor(y_true), 1)
        self.assertAllClose(one_hot, [[1, 0], [0, 1]])

    def test_a_label_that_is_no_class_has_a_row_of_zeros(self):
        for y_true, classes in (
            ([3, -1], 3),
            ([0.5, np.nan], 3),
            ([[0.9, 0.05, 0.05], [1, 1, 0]], 3),
            ([[0, 0, 0], [1, 0.5, 0]], 3),
            ([2, -2], 1),
            # One of them stands for a label that is missing.
            ([0, -1], 1),
        ):
            one_hot = labels.to_class_rows(
                ops.convert_to_tensor(y_true), classes
            )
            self.assertAllClose(one_hot, np.zeros((2, max(classes, 2))))

    def test_another_shape_is_refused(self):
        for shape in ((4, 2), (4, 3, 1), ()):
            with self.assertRaisesRegex(ValueError, "Labels must have shape"):
                labels.to_class_rows(ops.zeros(shape), 3)
        with self.assertRaisesRegex(ValueError, r"y_true of shape \(4, 2\)"):
            labels.to_class_rows(ops.zeros((4, 2)), 1)


class CertificateLabelsTest(LipschitzTestCase):
    @parameterized.parameters(
        ([2, 0],), ([[2], [0]],), ([[0, 0, 1], [1, 0, 0]],), ([2.0, 0.0],)
    )
    def test_every_form_gives_the_same_indices(self, y):
        found = labels.to_sparse_labels(np.array(y), 3)
        self.assertEqual(found.dtype, "int64")
        self.assertEqual(found.tolist(), [2, 0])

    @parameterized.parameters(
        ([0, 1],), ([-1, 1],), ([[-1.0], [1.0]],), ([False, True],)
    )
    def test_binary_labels_become_indices(self, y):
        found = labels.to_sparse_labels(np.array(y), 1)
        self.assertEqual(found.tolist(), [0, 1])

    @parameterized.parameters(
        ([1, 4, 1, 9], 3, r"be integers from 0 to 2. Received: y=\[\[4\], \[9"),
        ([-1], 3, "be integers from 0 to 2"),
        ([0.5], 3, "be integers from 0 to 2"),
        ([np.nan], 3, "be integers from 0 to 2"),
        # Another number than 1, if by less than float32 tells apart.
        ([1 + 1e-12], 3, "be integers from 0 to 2"),
        ([[1, 1, 0]], 3, "contain a single 1 in each row"),
        ([[0.9, 0.1, 0]], 3, "contain a single 1 in each row"),
        ([2, 1], 1, r"be 0 and 1, .* Received: y=\[\[2\]\], among the 1 wrong"),
        ([-1, 0, 1], 1, "be 0 and 1, .* a mixture of 0 and -1. .*among the 2"),
        (["cat"], 3, "be numbers: .* Received: y of dtype <U3, such as"),
    )
    def test_label_of_no_class_is_refused(self, y, classes, message):
        with self.assertRaisesRegex(ValueError, "Labels must " + message):
            labels.to_sparse_labels(np.array(y), classes)

    @parameterized.parameters(((4, 2), 3), ((4, 3, 1), 3), ((), 3), ((4, 2), 1))
    def test_another_shape_is_refused(self, shape, classes):
        with self.assertRaisesRegex(
            ValueError, "Labels must have shape .* Received: y of shape"
        ):
            labels.to_sparse_labels(np.zeros(shape), classes)

    @parameterized.parameters(([0, 1, -1],), ([-1, 1, 0],), ([-1, 0, 1],))
    def test_mixtures_are_found_over_batches(self, y):
        y = np.array(y)
        for size in (1, 2, 3):
            read = labels.LabelReader(1)
            with self.assertRaisesRegex(ValueError, "a mixture of 0 and -1"):
                for start in range(0, 3, size):
                    read(y[start : start + size])
        with self.assertRaisesRegex(ValueError, "a mixture of 0 and -1"):
            labels.LabelReader(1, y.tolist())

    def test_labels_of_one_kind_are_read_over_batches(self):
        for classes, batches in (
            (1, [[0, 1], [1], [0]]),
            (1, [[-1.0], [[1.0]], [True]]),
            (3, [[0, 2], [[0, 0, 1]], [[1]]]),
        ):
            read = labels.LabelReader(classes)
            for batch in map(np.array, batches):
                expected = labels.to_sparse_labels(batch, classes)
                self.assertEqual(read(batch).tolist(), expected.tolist())


class SameRulesTest(LipschitzTestCase):
    """What one of the three takes for a class, the others take for the same."""

    @parameterized.parameters(
        ([0, 1, 2, 1], 3),
        ([[0, 1, 0], [1, 0, 0]], 3),
        ([0, 1, 1], 1),
        ([-1, 1, 1], 1),
        ([3, 1], 3),
        ([-1, 1], 3),
        ([0.5, 1], 3),
        ([[1, 1, 0]], 3),
        ([[0, 0, 0]], 3),
        ([0, -1, 1], 1),
        ([2, 1], 1),
    )
    def test_losses_metrics_and_certificates_agree(self, y, classes):
        scores = np.zeros((len(y), classes))
        encode = labels.to_signs if classes == 1 else labels.to_one_hot
        tensor = ops.convert_to_tensor(np.array(y, "float32"))
        rows = to_numpy(labels.to_class_rows(tensor, classes))
        try:
            found = labels.to_sparse_labels(np.array(y), classes)
        except ValueError as error:
            what = str(error).split(" Received")[0]
            with self.assertRaisesRegex(ValueError, what):
                encode(y, scores)
            self.assertTrue((rows.sum(axis=1) == 0).any())
            return
        self.assertAllClose(rows, np.eye(max(classes, 2))[found], 0, 0)
        encoded = to_numpy(encode(y, scores))
        if classes == 1:
            self.assertAllClose(encoded[:, 0], 2.0 * found - 1, 0, 0)
        else:
            self.assertAllClose(encoded, rows, 0, 0)


class _Encode(keras.Operation):
    def __init__(self, encode):
        super().__init__()
        self.encode = encode

    def call(self, y_true, y_pred):
        return self.encode(y_true, y_pred)
