"""What every test of a loss starts from."""

import json

import keras
import numpy as np

from keras_lip import autodiff
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class LossTestCase(LipschitzTestCase):
    def run_loss_test(self, loss_cls, init_kwargs, y_true, y_pred, wrong):
        """Checks what holds for every loss.

        Args:
            loss_cls: Class of the loss.
            init_kwargs: Dict of its arguments.
            y_true: Labels of six samples.
            y_pred: Scores of the same samples.
            wrong: Labels of the shape of `y_true`, the last one of no class.
        """
        y_true, wrong = np.array(y_true), np.array(wrong)
        y_pred = np.array(y_pred, dtype="float32")
        assert len(y_true) == len(y_pred) == len(wrong) == 6

        def build(**kwargs):
            return loss_cls(**init_kwargs, **kwargs)

        self._check_config(build, y_true, y_pred)
        self._check_reductions(build, y_true, y_pred)
        self._check_weights(build, y_true, y_pred)
        self._check_numerics(build, y_true, y_pred)
        self._check_training(build, y_true, y_pred, wrong)

    def _check_config(self, build, y_true, y_pred):
        for kwargs in ({}, {"reduction": "sum", "name": "mine"}):
            loss = build(dtype="bfloat16", **kwargs)
            self.run_serialization_test(loss)
            config = json.loads(json.dumps(loss.get_config()))
            restored = type(loss).from_config(config)
            self.assertEqual(restored.name, loss.name)
            self.assertEqual(restored.dtype, "bfloat16")
            value, expected = restored(y_true, y_pred), loss(y_true, y_pred)
            self.assertAllClose(value, expected)

    def _check_reductions(self, build, y_true, y_pred):
        values = to_numpy(build(reduction="none")(y_true, y_pred))
        self.assertEqual(values.shape, (6,))
        self.assertAllClose(build(reduction=None)(y_true, y_pred), values)
        self.assertAllClose(build().call(y_true, y_pred), values)
        total, mean = values.sum(), values.mean()
        self.assertAllClose(build(reduction="sum")(y_true, y_pred), total)
        self.assertAllClose(build()(y_true, y_pred), mean)

    def _check_weights(self, build, y_true, y_pred):
        """A weight counts as so many copies of the sample, a mask as none."""
        weights = np.array([2, 1, 0, 3, 0, 1])
        repeated = [np.repeat(a, weights, axis=0) for a in (y_true, y_pred)]
        total = build(reduction="sum")(*repeated)
        mean = build()(*repeated)
        for shape in ((6,), (6, 1)):
            given = weights.reshape(shape)
            value = build(reduction="sum")(y_true, y_pred, given)
            self.assertAllClose(value, total, rtol=1e-5)
            # Seven copies among six samples.
            value = build()(y_true, y_pred, given)
            self.assertAllClose(value, mean * 7 / 6, rtol=1e-5)
            value = build(reduction="mean_with_sample_weight")(
                y_true, y_pred, given
            )
            self.assertAllClose(value, mean, rtol=1e-5)
        self.assertAllClose(
            build()(y_true, y_pred, 3.0), 3 * build()(y_true, y_pred), rtol=1e-5
        )

        mask = weights > 0
        kept = build()(y_true[mask], y_pred[mask])
        masked = build()(y_true, _Masked(mask)(y_pred))
        self.assertAllClose(masked, kept, rtol=1e-5)
        both = build()(y_true, _Masked(mask)(y_pred), np.maximum(weights, 1))
        # Seven copies among the four samples that the mask leaves.
        self.assertAllClose(both, mean * 7 / 4, rtol=1e-5)

    def _check_numerics(self, build, y_true, y_pred):
        expected = build()(y_true, y_pred)
        dtypes = ["float16", "bfloat16"]
        if keras.backend.backend() != "jax":  # There it is off by default.
            dtypes.append("float64")
        for dtype in dtypes:
            scores = keras.ops.cast(y_pred, dtype)
            value = build()(y_true, scores)
            self.assertEqual(_dtype(value), "float32")
            # 8 bits of precision in bfloat16.
            self.assertAllClose(value, expected, rtol=2e-2, atol=2e-2)
            values = build(dtype=dtype, reduction="none")(y_true, scores)
            self.assertEqual(_dtype(values), dtype)
            value = to_numpy(values).astype("float64").mean()
            self.assertAllClose(value, expected, rtol=2e-2, atol=2e-2)
        # Each score fits in float16, and their sum does not.
        scores = keras.ops.cast(np.sign(y_pred - 0.1) * 6e4, "float16")
        self.assertTrue(np.isfinite(to_numpy(build()(y_true, scores))))

        absent = np.repeat(y_true[:1], 6, axis=0)
        for labels in (y_true, absent):
            for scale in (0.0, 1.0, 1e4, 1e30):
                scores = keras.ops.convert_to_tensor(y_pred * scale)
                slope = autodiff.gradient(
                    lambda s, labels=labels: build()(labels, s), scores
                )
                self.assertTrue(np.isfinite(to_numpy(slope)).all())

    def _check_training(self, build, y_true, y_pred, wrong):
        """A model of scores of its own for each sample lowers the loss."""
        x = np.eye(6, dtype="float32")
        units = 1 if y_pred.ndim == 1 else y_pred.shape[-1]
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(units)])
        model.compile(keras.optimizers.SGD(0.01), loss=build())
        before = to_numpy(build()(y_true, model(x)))
        evaluated = model.evaluate(x, y_true, batch_size=6, verbose=0)
        self.assertAllClose(evaluated, before, rtol=1e-5)
        model.fit(x, y_true, batch_size=6, epochs=3, verbose=0)
        after = to_numpy(build()(y_true, model(x)))
        self.assertLess(after, before)

        # Batches of 4 and of 2, and weights.
        weights = np.ones(6, dtype="float32")
        losses = model.fit(
            x, y_true, sample_weight=weights, batch_size=4, verbose=0
        ).history["loss"]
        self.assertTrue(np.isfinite(losses).all())

        # A label of no class is never trained on in silence.
        if keras.backend.backend() == "torch":
            with self.assertRaisesRegex(ValueError, "Labels must"):
                model.fit(x, wrong, batch_size=6, verbose=0)
        else:
            losses = model.fit(x, wrong, batch_size=6, verbose=0)
            self.assertTrue(np.isnan(losses.history["loss"]).all())
        model.compile(keras.optimizers.SGD(0.01), build(), run_eagerly=True)
        with self.assertRaisesRegex(ValueError, "Labels must"):
            model.fit(x, wrong, batch_size=6, verbose=0)


class _Masked(keras.layers.Layer):
    """Gives its inputs a mask."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def call(self, inputs):
        return inputs * 1.0

    def compute_mask(self, inputs, previous_mask):
        return keras.ops.convert_to_tensor(self.mask)


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)
