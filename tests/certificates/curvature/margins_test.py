import mpmath
import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.curvature.margins import CurvatureMargins
from keras_lip.certificates.curvature.margins import norm_up
from keras_lip.certificates.curvature.margins import sigmoid
from keras_lip.program.nodes.curvature_head import CurvatureHead
from tests.lipschitz_test_case import LipschitzTestCase


class CurvatureMarginsTest(LipschitzTestCase):
    @parameterized.parameters(1e-2, 1.0, 30.0, 1e8)
    def test_margins_and_gradients_are_right_within_their_errors(self, scale):
        head = CurvatureHead(
            self.rng.normal(size=(5, 7)) * scale,
            self.rng.normal(size=7) * scale,
            self.rng.normal(size=(7, 3)),
            self.rng.normal(size=3),
        )
        margins = CurvatureMargins(head)
        x = self.rng.normal(size=(4, 5)) * 100
        labels, others = np.array([0, 0, 1, 2]), np.array([1, 2, 0, 0])
        margin = margins(x, *margins.compare(labels, others))
        for i, pair in enumerate(zip(labels, others, strict=True)):
            value, gradient = exact_margin(head, x[i], *pair)
            off = [
                a - b for a, b in zip(margin.gradient[i], gradient, strict=True)
            ]
            self.assertLessEqual(mpmath.norm(off), margin.gradient_error[i])
            size = max(1.0, float(mpmath.norm(gradient)))
            self.assertLess(
                margin.gradient_error[i], 1e-8 * max(size, scale**2)
            )
            self.assertLessEqual(margin.value[i], value)
            self.assertLess(float(value) - margin.value[i], 1e-9 * scale)

    def test_margins_of_all_classes_are_broadcast(self):
        head = CurvatureHead(
            *(self.rng.normal(size=size) for size in ((2, 4), 4, (4, 3), 3))
        )
        margins, x = CurvatureMargins(head), self.rng.normal(size=(5, 2))
        labels = np.array([0, 1, 2, 0, 1])
        joint = margins(
            x[:, None], *margins.compare(labels[:, None], np.arange(3))
        )
        self.assertEqual(joint.gradient.shape, (5, 3, 2))
        for other in range(3):
            single = margins(x, *margins.compare(labels, np.full(5, other)))
            for a, b in zip(joint, single, strict=True):
                self.assertAllClose(a[:, other], b, 1e-13, 1e-13)

    def test_margin_lost_in_rounding_is_not_positive(self):
        # 1e17 + 1 - 1e17, of which nothing is left.
        head = CurvatureHead(
            np.ones((1, 2)),
            np.array([0.0, 1.0]),
            np.array([[0.0, 1.0], [1.0, 0.0]]),
            np.zeros(2),
        )
        margins = CurvatureMargins(head)
        for x, positive in ((1e17, False), (1e6, True)):
            margin = margins(np.array([x]), *margins.compare(0, 1))
            self.assertEqual(bool(margin.value > 0), positive)

    def test_norms_are_rounded_up(self):
        for scale in (1e-170, 1e-30, 1.0, 1e150):
            vectors = self.rng.normal(size=(50, 9)) * scale
            for vector, norm in zip(vectors, norm_up(vectors), strict=True):
                with mpmath.workprec(300):
                    self.assertGreaterEqual(norm, mpmath.norm(vector.tolist()))

    def test_sigmoid_does_not_overflow(self):
        x = np.array([-1e300, -800.0, -1.0, 0.0, 1.0, 800.0])
        one = 1 / (1 + np.exp(-1))
        self.assertAllClose(
            sigmoid(x), [0, 0, 1 - one, 0.5, one, 1], 1e-300, 1e-15
        )


def exact_margin(head, x, label, other):
    with mpmath.workprec(300):
        numbers = [mpmath.mpf(float(number)) for number in x]
        value = mpmath.mpf(float(head.bias[label])) - float(head.bias[other])
        gradient = [mpmath.mpf(0)] * len(x)
        for column, bias, outer in zip(
            head.hidden_kernel.T, head.hidden_bias, head.kernel, strict=True
        ):
            inner = mpmath.fdot(numbers, column.tolist()) + float(bias)
            weight = mpmath.mpf(float(outer[label])) - float(outer[other])
            value += weight * mpmath.log1p(mpmath.exp(inner))
            slope = weight / (1 + mpmath.exp(-inner))
            gradient = [
                g + slope * float(w)
                for g, w in zip(gradient, column, strict=True)
            ]
        return value, gradient
