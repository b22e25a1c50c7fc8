from keras_lip import metrics
from tests.metrics import mean_radius_test_case


class MeanCertifiableRobustnessTest(mean_radius_test_case.MeanRadiusTestCase):
    metric_cls = metrics.MeanCertifiableRobustness
    wrong = -1.0
