from keras_lip import metrics
from tests.metrics import mean_radius_test_case


class MeanCertifiedRadiusTest(mean_radius_test_case.MeanRadiusTestCase):
    metric_cls = metrics.MeanCertifiedRadius
    wrong = 0.0
