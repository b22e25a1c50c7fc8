import json

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import autodiff
from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.losses.loss_cases import CASES

# In float32, which PyTorch shares with the array: a weight that is changed in
# place makes the values after it wrong.
WEIGHTS = np.array([2.0, 1.0, 0.0, 3.0, 0.5, 1.0], dtype="float32")
MASK = np.array([True, True, False, True, False, True])


class ContractTest(LipschitzTestCase):
    def test_every_loss_has_a_case(self):
        public = {
            name
            for name, value in vars(losses).items()
            if isinstance(value, type) and issubclass(value, keras.losses.Loss)
        }
        self.assertEqual({name.split("_")[0] for name in CASES}, public)

    @parameterized.parameters(*CASES)
    def test_config_makes_the_same_loss(self, name):
        case = CASES[name]
        for kwargs in ({}, {"reduction": "sum", "name": "mine"}):
            loss = case.build(**case.init_kwargs, dtype="bfloat16", **kwargs)
            self.run_serialization_test(loss)
            config = json.loads(json.dumps(loss.get_config()))
            restored = type(loss).from_config(config)
            self.assertEqual(restored.name, loss.name)
            self.assertEqual(restored.dtype, "bfloat16")
            if hasattr(loss, "head"):
                restored.head = loss.head
            value = restored(case.y_true, case.y_pred)
            self.assertAllClose(value, loss(case.y_true, case.y_pred))

    @parameterized.parameters(*CASES)
    def test_values_are_those_of_numpy(self, name):
        """Under every reduction, with weights of every shape and masks."""
        case = CASES[name]
        for given in (None, 3.0, WEIGHTS, WEIGHTS[:, None], WEIGHTS[3:4]):
            for mask in (None, MASK, ~MASK):
                scores = case.y_pred if mask is None else _masked(case, mask)
                weights = np.ones(6) if given is None else given
                weights = np.broadcast_to(np.ravel(weights), 6)
                kept = np.ones(6, dtype=bool) if mask is None else mask
                weights = weights * kept
                total = case.reference(case.sparse, case.y_pred, weights)
                for reduction, divisor in (
                    ("sum", 1.0),
                    ("sum_over_batch_size", kept.sum()),
                    ("mean_with_sample_weight", weights.sum()),
                ):
                    if reduction[0] == "m" and given is None:
                        divisor = kept.sum()
                    loss = case.build(**case.init_kwargs, reduction=reduction)
                    value = loss(case.y_true, scores, given)
                    self.assertAllClose(value, total / divisor, 1e-5, 1e-5)
                for reduction in ("none", None):
                    loss = case.build(**case.init_kwargs, reduction=reduction)
                    values = to_numpy(loss(case.y_true, scores, given))
                    self.assertEqual(values.shape, (6,))
                    self.assertAllClose(values.sum(), total, 1e-5, 1e-5)
                    self.assertTrue((values[~kept] == 0).all())

    @parameterized.parameters(*CASES)
    def test_values_are_close_in_low_precision(self, name):
        case = CASES[name]
        expected = case.reference(case.sparse, case.y_pred, WEIGHTS) / 6
        dtypes = ["float16", "bfloat16"]
        if keras.backend.backend() != "jax":  # There it is off by default.
            dtypes.append("float64")
        for dtype in dtypes:
            scores = keras.ops.cast(case.y_pred, dtype)
            value = case.build(**case.init_kwargs)(case.y_true, scores, WEIGHTS)
            self.assertEqual(_dtype(value), "float32")
            self.assertAllClose(value, expected, 1e-5, 1e-5)
            loss = case.build(**case.init_kwargs, dtype=dtype, reduction=None)
            values = loss(case.y_true, scores, WEIGHTS)
            self.assertEqual(_dtype(values), dtype)
            # 8 bits of precision in bfloat16.
            value = to_numpy(values).astype("float64").mean()
            self.assertAllClose(value, expected, 2e-2, 2e-2)
        # Each score fits in float16, and their sum does not.
        scores = keras.ops.cast(np.sign(case.y_pred - 0.1) * 6e4, "float16")
        value = case.build(**case.init_kwargs)(case.y_true, scores)
        self.assertTrue(np.isfinite(to_numpy(value)))

    @parameterized.parameters(*CASES)
    def test_gradients_are_finite(self, name):
        case = CASES[name]
        loss = case.build(**case.init_kwargs)
        absent = np.repeat(case.y_true[:1], 6, axis=0)
        for labels in (case.y_true, absent):
            for scale in (0.0, 1.0, 1e4, 1e30):
                scores = keras.ops.convert_to_tensor(
                    case.y_pred * scale, "float32"
                )
                slope = autodiff.gradient(
                    lambda s, labels=labels: loss(labels, s), scores
                )
                self.assertTrue(np.isfinite(to_numpy(slope)).all())

    @parameterized.parameters(*CASES)
    def test_fit_weighs_classes_and_refuses_wrong_labels(self, name):
        case = CASES[name]
        model = _make_model({name: case}, "float32")
        model.compile(
            keras.optimizers.SGD(0.0),
            case.build(**case.init_kwargs),
            run_eagerly=True,
        )
        classes = case.y_true
        if classes.ndim == 2:
            # Keras takes all rows for one-hot ones.
            rows = classes.shape[1] > 1
            classes = classes.argmax(axis=1) if rows else classes[:, 0]
        class_weight = {-1: 2.0, 0: 0.5, 1: 3.0, 2: 0.25}
        weights = np.array([class_weight[k] for k in classes])
        history = _fit(model, case.y_true, class_weight=class_weight)
        expected = _expect(case, weights)
        self.assertAllClose(history["loss"], [expected], 1e-5, 1e-5)
        with self.assertRaisesRegex(ValueError, "Labels must"):
            _fit(model, case.wrong)

    def test_compiled_steps_compute_and_lower_every_loss(self):
        """All in one model: to compile one for each takes minutes."""
        cases = {n: c for n, c in CASES.items() if "_of_" not in n}
        y_true = {name: case.y_true for name, case in cases.items()}
        weights = {name: WEIGHTS for name in cases}
        for policy, jit_compile in _modes():
            model = _make_model(cases, policy)
            model.compile(
                keras.optimizers.SGD(0.0),
                {n: c.build(**c.init_kwargs) for n, c in cases.items()},
                jit_compile=jit_compile,
            )
            history = _fit(model, y_true, sample_weight=weights)
            # Keras averages single outputs over batches without their sizes.
            expected = sum(_expect(case, WEIGHTS) for case in cases.values())
            self.assertAllClose(history["loss"], [expected], 1e-5, 1e-5)
        model.optimizer.learning_rate = 0.01
        history = _fit(model, y_true, sample_weight=weights, epochs=3)
        for name in cases:
            changes = np.diff(history[f"{name}_loss"])
            self.assertTrue((changes < 0).all(), msg=name)
        if keras.backend.backend() != "torch":  # There an error is raised.
            wrong = {name: case.wrong for name, case in cases.items()}
            history = _fit(model, wrong, sample_weight=weights)
            for name in cases:
                self.assertTrue(np.isnan(history[f"{name}_loss"]), msg=name)


def _make_model(cases, policy):
    """A model with scores of its own for each row of the unit matrix."""
    inputs, outputs = keras.Input((6,)), {}
    for name, case in cases.items():
        layer = keras.layers.Dense(
            case.y_pred.shape[1],
            use_bias=False,
            dtype=keras.DTypePolicy(policy),
        )
        outputs[name] = layer(inputs)
        layer.kernel.assign(case.y_pred)
    if len(outputs) == 1:
        outputs = outputs.popitem()[1]
    return keras.Model(inputs, outputs)


def _fit(model, y_true, **kwargs):
    """Trains in batches of four samples and of two."""
    x = np.eye(6, dtype="float32")
    return model.fit(
        x, y_true, batch_size=4, shuffle=False, verbose=0, **kwargs
    ).history


def _expect(case, weights):
    """The mean over the samples of the means over both batches."""
    return sum(
        case.reference(case.sparse[b], case.y_pred[b], weights[b]) / 6
        for b in (slice(4), slice(4, 6))
    )


def _modes():
    """Dtype policies, with and without XLA where there is a choice."""
    if keras.backend.backend() == "tensorflow":
        return [("mixed_bfloat16", False), ("mixed_bfloat16", True)]
    return [("mixed_float16", "auto")]


def _masked(case, mask):
    scores = keras.ops.convert_to_tensor(case.y_pred, "float32")
    # A new tensor: a mask stays on the one that gets it.
    return _Masked(mask)(scores)


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
