import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import power_iteration
from keras_lip.linalg import start_vector
from keras_lip.operators import ConvolutionOperator
from keras_lip.operators import DenseOperator
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class StartVectorTest(LipschitzTestCase):
    def test_the_vector_is_the_same_every_time(self):
        vector = start_vector((1, 3, 2))
        self.assertEqual((vector.shape, vector.dtype), ((1, 3, 2), "float32"))
        # `numpy.random.default_rng(0).normal()`
        self.assertAlmostEqual(float(vector[0, 0, 0]), 0.12573022, places=7)
        np.testing.assert_array_equal(vector, start_vector((1, 3, 2)))

    def test_a_dtype_is_taken(self):
        self.assertEqual(start_vector((2,), "float64").dtype, "float64")


class PowerIterationTest(LipschitzTestCase):
    def estimate(self, kernel, vector, iterations):
        norm, vector = power_iteration(
            DenseOperator(),
            ops.convert_to_tensor(kernel),
            ops.convert_to_tensor(vector),
            iterations,
        )
        self.assertEqual(tuple(norm.shape), ())
        return float(to_numpy(norm)), to_numpy(vector)

    @parameterized.product(
        shape=[(8, 3), (3, 8), (5, 5), (6, 1), (1, 6)],
        iterations=[1, 2, 7],
    )
    def test_estimate_is_never_above_the_norm(self, shape, iterations):
        for _ in range(3):
            kernel = self.normal(*shape)
            norm, vector = self.estimate(
                kernel, self.normal(1, shape[0]), iterations
            )
            exact = self.singular_values(kernel).max()
            self.assertLessEqual(norm, exact * (1 + 1e-6))
            self.assertGreater(norm, 0.0)
            self.assertAlmostEqual(np.linalg.norm(vector), 1.0, delta=1e-6)

    def test_iterations_are_counted(self):
        # Of diag(2, 1) each brings the ratio of the entries down by four.
        kernel = np.diag([2.0, 1.0]).astype("float32")
        for iterations in 1, 2, 3:
            _, vector = self.estimate(kernel, np.ones((1, 2)), iterations)
            self.assertAlmostEqual(
                vector[0, 1] / vector[0, 0], 4.0**-iterations, delta=1e-6
            )

    @parameterized.named_parameters(("tall", 8, 3), ("wide", 3, 8))
    def test_estimate_converges(self, rows, columns):
        kernel = self.normal(rows, columns)
        norm, vector = self.estimate(kernel, self.normal(1, rows), 200)
        left, values, _ = np.linalg.svd(kernel)
        self.assertAlmostEqual(norm, values[0], delta=1e-5 * values[0])
        self.assertAlmostEqual(abs(vector[0] @ left[:, 0]), 1.0, delta=1e-4)

    def test_vector_carries_on_from_call_to_call(self):
        kernel, start = self.normal(6, 4), self.normal(1, 6)
        _, vector = self.estimate(kernel, start, 3)
        for _ in range(3):
            _, start = self.estimate(kernel, start, 1)
        self.assertAllClose(start, vector, 1e-5, 1e-5)

    @parameterized.parameters(1e-20, 1e-8, 1e8, 1e20)
    def test_tiny_and_huge_kernels_are_estimated(self, scale):
        kernel = self.normal(6, 4)
        exact = self.singular_values(kernel).max()
        kernel = (kernel.astype("float64") * scale).astype("float32")
        norm, vector = self.estimate(kernel, self.normal(1, 6), 200)
        self.assertAlmostEqual(norm / scale, exact, delta=1e-4 * exact)
        self.assertAlmostEqual(np.linalg.norm(vector), 1.0, delta=1e-6)

    def test_kernel_that_vanishes_keeps_its_vector(self):
        start = np.array([[3.0, 4.0, 0.0]], dtype="float32")
        for iterations in 1, 5:
            norm, vector = self.estimate(
                np.zeros((3, 2), "float32"), start, iterations
            )
            self.assertEqual(norm, 0.0)
            self.assertAllClose(vector, start / 5)

    def test_vector_that_the_kernel_takes_to_zero_is_kept(self):
        kernel = np.array([[2.0], [0.0]], dtype="float32")
        start = np.array([[0.0, 1.0]], dtype="float32")
        norm, vector = self.estimate(kernel, start, 5)
        self.assertEqual(norm, 0.0)
        self.assertAllClose(vector, start)

    @parameterized.named_parameters(("tall", 7, 3), ("wide", 3, 7))
    def test_gradient_is_the_product_of_the_singular_vectors(
        self, rows, columns
    ):
        kernel = self.normal(rows, columns)
        vector = ops.convert_to_tensor(self.normal(1, rows))

        def norm(kernel):
            return power_iteration(DenseOperator(), kernel, vector, 300)[0]

        left, _, right = np.linalg.svd(kernel)
        actual = to_numpy(gradient(norm, ops.convert_to_tensor(kernel)))
        self.assertAllClose(actual, np.outer(left[:, 0], right[0]), 1e-3, 1e-3)

    def test_gradient_of_one_iteration_is_of_its_vectors(self):
        kernel = self.normal(4, 3)
        start = ops.convert_to_tensor(self.normal(1, 4))

        def norm(kernel):
            return power_iteration(DenseOperator(), kernel, start, 1)[0]

        kernel = ops.convert_to_tensor(kernel)
        _, vector = power_iteration(DenseOperator(), kernel, start, 1)
        vector = to_numpy(vector)[0]
        image = vector @ to_numpy(kernel)
        expected = np.outer(vector, image / np.linalg.norm(image))
        actual = to_numpy(gradient(norm, kernel))
        self.assertAllClose(actual, expected, 1e-5, 1e-5)

    def test_no_gradient_flows_to_the_vector(self):
        kernel = ops.convert_to_tensor(self.normal(4, 3))

        def norm(vector):
            estimate, last = power_iteration(DenseOperator(), kernel, vector, 2)
            return estimate + ops.sum(last) + 0.0 * ops.sum(vector)

        vector = ops.convert_to_tensor(self.normal(1, 4))
        self.assertAllClose(gradient(norm, vector), np.zeros((1, 4)), 0, 0)

    def test_gradient_of_a_kernel_that_vanishes_is_finite(self):
        vector = ops.convert_to_tensor(self.normal(1, 4))

        def norm(kernel):
            return power_iteration(DenseOperator(), kernel, vector, 2)[0]

        actual = to_numpy(gradient(norm, ops.zeros((4, 3))))
        self.assertTrue(np.isfinite(actual).all())

    def test_tflite_computes_the_same(self):
        # Its converter fuses what looks like the normalization of an axis.
        if keras.backend.backend() != "tensorflow":
            self.skipTest("TensorFlow writes the format.")
        import tensorflow as tf
        from ai_edge_litert.interpreter import Interpreter

        operator = ConvolutionOperator()
        vector = ops.convert_to_tensor(self.normal(1, 4, 4, 2))
        kernel = self.normal(3, 3, 2, 3)

        module = tf.Module()
        module.estimate = tf.function(
            lambda kernel: power_iteration(operator, kernel, vector, 2)[0],
            input_signature=[tf.TensorSpec(kernel.shape)],
        )
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [module.estimate.get_concrete_function()], module
        )
        interpreter = Interpreter(model_content=converter.convert())
        interpreter.allocate_tensors()
        (read,) = interpreter.get_input_details()
        (written,) = interpreter.get_output_details()
        interpreter.set_tensor(read["index"], kernel)
        interpreter.invoke()
        found = interpreter.get_tensor(written["index"])
        self.assertAllClose(found, module.estimate(kernel), 1e-5, 1e-5)
