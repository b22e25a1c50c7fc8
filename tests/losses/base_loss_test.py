import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import losses
from keras_lip.losses.base_loss import BaseLoss
from tests.lipschitz_test_case import LipschitzTestCase


class BaseLossTest(LipschitzTestCase):
    def test_abstract_loss_cannot_be_built(self):
        with self.assertRaisesRegex(TypeError, "abstract"):
            BaseLoss()

    def test_unknown_reduction_is_refused(self):
        with self.assertRaisesRegex(ValueError, "reduction"):
            losses.HKR(reduction="average")

    @parameterized.parameters("int32", "bool")
    def test_dtype_that_rounds_scores_is_refused(self, dtype):
        with self.assertRaisesRegex(
            ValueError, f"`dtype` must be .* Received: dtype='{dtype}'"
        ):
            losses.HKR(dtype=dtype)

    @parameterized.parameters([(3,)], [(4, 2)], [(4, 1, 1)], [(3, 1)], [(0,)])
    def test_weights_of_another_shape_are_refused(self, shape):
        with self.assertRaisesRegex(
            ValueError, "`sample_weight` must be a number or have shape"
        ) as caught:
            losses.HKR()([0, 1, 1, 0], np.zeros((4, 1)), np.ones(shape))
        self.assertIn(
            f"sample_weight.shape={shape}, y_pred.shape=(4, 1)",
            str(caught.exception),
        )

    def test_weights_of_zero_give_no_nan(self):
        for loss in (losses.KantorovichRubinstein(), losses.HKR()):
            value = loss([0, 1], [[1.0], [2.0]], [0.0, 0.0])
            self.assertAllClose(value, 0.0)

    def test_labels_of_another_shape_are_refused_in_a_compiled_step(self):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", losses.HKR())
        with self.assertRaisesRegex(
            ValueError, r"y_true.shape=\(\w+, 2\), y_pred.shape=\(\w+, 1\)"
        ):
            model.fit(self.normal(4, 3), np.ones((4, 2)), verbose=0)

    def test_weights_keep_the_precision_of_the_loss(self):
        if keras.backend.backend() != "tensorflow":
            self.skipTest("Elsewhere `keras.ops` rounds float64 to float32.")
        loss = losses.KantorovichRubinstein(reduction="none", dtype="float64")
        # The positive class has the weight 1 of the 1 + 1 / 3.
        values = loss([1, 0], [1.0, 0.0], np.array([1.0, 1 / 3]))
        self.assertAllClose(values, [-4 / 3, 0.0], atol=0, rtol=1e-14)

    def test_loss_of_symbolic_tensors_is_symbolic(self):
        loss = losses.HKR()
        value = loss(keras.KerasTensor((4,)), keras.KerasTensor((4, 1)))
        self.assertIsInstance(value, keras.KerasTensor)
        self.assertEqual(value.shape, ())

    def test_weights_of_unknown_number_are_taken(self):
        if keras.backend.backend() != "tensorflow":
            self.skipTest("Only TensorFlow traces axes of unknown size.")
        value = losses.HKR()(
            keras.KerasTensor((4,)),
            keras.KerasTensor((4, 1)),
            keras.KerasTensor((None,)),
        )
        self.assertEqual(value.shape, ())

    def test_torch_compiles_a_loss_to_one_graph(self):
        if keras.backend.backend() != "torch":
            self.skipTest("The test is of `torch.compile`.")
        import torch

        self.needs_newer_torch()
        loss = losses.MulticlassHKR()
        compiled = torch.compile(loss, fullgraph=True, backend="eager")
        scores = torch.tensor(self.normal(3, 4))
        labels = torch.tensor([0, 1, 3])
        self.assertAllClose(compiled(labels, scores), loss(labels, scores))
        self.assertAllClose(compiled(labels + 1, scores), float("nan"))

    def test_class_weight_weighs_the_hinge_and_not_the_means(self):
        x = np.eye(4, dtype="float32")
        y = np.array([1, 0, 0, 0])
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.0), losses.HKR(alpha=2.0))
        scores = keras.ops.convert_to_numpy(model(x))
        history = model.fit(
            x, y, batch_size=4, class_weight={0: 1.0, 1: 5.0}, verbose=0
        )
        # The mean weight is (5 + 3) / 4 = 2.
        gap = losses.KantorovichRubinstein()(y, scores)
        hinges = losses.HingeMargin(reduction="none")(y, scores)
        weights = np.array([5.0, 1.0, 1.0, 1.0], dtype="float32")
        expected = 2 * np.mean(weights * keras.ops.convert_to_numpy(hinges))
        expected += 2 * float(gap)
        self.assertAllClose(history.history["loss"][0], expected, rtol=1e-5)
