"""Networks to export, and exports whose converter is left out."""

import sys
from unittest import mock

import keras

from keras_lip import layers
from keras_lip.models.export import export
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def make_dense():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.OrthogonalDense(8),
            layers.GroupSort(4),
            layers.ConvexPotentialDense(5),
            layers.UnitNormDense(4, bias_initializer="normal"),
        ]
    )


def make_convolutional():
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.AOLConv2D(4, 3),
            layers.MaxMin(),
            layers.ScaledAveragePooling2D(2),
            keras.layers.Flatten(),
            layers.CurvatureHead(3, 7, kernel_initializer="normal"),
        ]
    )


def make_linear(name=None):
    return keras.Sequential(
        [keras.Input((6,)), layers.UnitNormDense(4, bias_initializer="normal")],
        name=name,
    )


def perturb(outputs, scale):
    outputs["logits"] = outputs["logits"] * (1 + scale)


class ExportTestCase(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.temporary_path("x").parent

    # The rest is tried without a converter: it does what the model does.
    def export_fast(self, model, path, *args, change=None, **kwargs):
        def convert(exported, staged, name, backend, probes):
            staged.write_text(f"{exported.name} by {backend}")
            outputs = {
                key: to_numpy(value).copy()
                for key, value in exported(probes).items()
            }
            if change is not None:
                change(outputs)
            return outputs

        module = sys.modules["keras_lip.models.export"]
        with mock.patch.object(module, "write_artifact", convert):
            return export(model, path, "onnx", *args, **kwargs)
