import json
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import autodiff
from keras_lip import layers
from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# All are exact in bfloat16.
COLUMN = np.array([[2.0], [-1.0], [0.5], [0.25], [3.0], [-2.0]])
SCORES = np.array(
    [
        [2.0, 1.5, -4.0],
        [0.0, 1.0, 0.5],
        [1.0, 1.0, 1.0],
        [0.25, -1.0, 2.0],
        [3.0, 0.0, 0.0],
        [0.0, 0.5, 0.75],
    ]
)
BINARY = np.array([1, 0, 0, 1, 0, 0])
CLASSES = np.array([0, 1, 2, 2, 1, 0])
ROWS = np.array(
    [[1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 1]]
)
SOFT = np.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]] * 3)
HEAD = {
    "hidden_kernel": np.array([[0.5], [-1.0], [2.0]]),
    "hidden_bias": np.array([0.5]),
    "kernel": np.array([[1.0, -2.0, 0.5]]),
    "bias": np.array([0.25, 0.0, -0.5]),
}


def hinge(y, s, margin=1.5):
    return np.maximum(0, margin - np.where(y > 0, 1, -1) * s)


def gap(y, s, w):
    """Weighted mean over the positive samples, minus that of the others."""
    if w[y > 0].sum() == 0 or w[y <= 0].sum() == 0:
        return 0.0
    return np.average(s[y > 0], weights=w[y > 0]) - np.average(
        s[y <= 0], weights=w[y <= 0]
    )


def hkr(y, s, w):
    y, s = np.ravel(y), np.ravel(s)
    return 2 * w @ hinge(y, s) - w.sum() * gap(y, s, w)


def margins(y, s):
    """Pairs of a sample and its margins over the classes not its own."""
    for i, t in enumerate(y):
        yield i, s[i, t] - np.delete(s[i], t)


def multiclass_hinge(y, s, w):
    return sum(w[i] * np.maximum(0, 1.5 - m).sum() for i, m in margins(y, s))


def multiclass_hkr(y, s, w):
    gaps = [gap(np.where(y == k, 1, 0), s[:, k], w) for k in range(3)]
    return 2 * multiclass_hinge(y, s, w) - w.sum() * np.mean(gaps)


def soft_hkr(y, s, w):
    total = 0.0
    for i, m in margins(y, s):
        soft = -np.log(np.exp(-3 * m).sum()) / 3
        total += w[i] * (2 * max(0, 1.5 - soft) - soft)
    return total


def multilabel_hkr(y, s, w):
    return np.mean([hkr(y[:, k], s[:, k], w) for k in range(3)])


def binary_crossentropy(y, s, w):
    return w @ np.log1p(np.exp(-2 * np.where(y > 0, 1, -1) * s[:, 0]))


def log_softmax(s):
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


def crossentropy(y, s, w):
    return -w @ (y * log_softmax(2 * s)).sum(axis=1)


def curvature_crossentropy(y, s, w):
    def run(s):
        hidden = s @ HEAD["hidden_kernel"] + HEAD["hidden_bias"]
        logits = np.log1p(np.exp(hidden)) @ HEAD["kernel"] + HEAD["bias"]
        return hidden, log_softmax(logits)

    y = np.eye(3)[y]
    hidden, logs = run(s)
    slope = (np.exp(logs) - y) @ HEAD["kernel"].T / (1 + np.exp(-hidden))
    slope = slope @ HEAD["hidden_kernel"].T
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    values = -(y * run(s + 0.25 * slope)[1]).sum(axis=1)
    # One hidden unit, whose outer weights range from -2 to 1.
    curvature = 3 * (HEAD["hidden_kernel"] ** 2).sum() / 4
    return w @ (values + 0.5 * curvature)


def build_curvature_crossentropy(**kwargs):
    head = layers.CurvatureHead(3, hidden_units=1)
    head.build((None, 3))
    for name, value in HEAD.items():
        getattr(head, name).assign(value)
    return losses.CurvatureCrossentropy(head, 0.25, 0.5, **kwargs)


class Case(NamedTuple):
    """A loss with six samples.

    `reference` returns the weighted sum of the losses of the samples, of
    labels, scores and weights. `sparse` are the labels as it takes them.
    """

    build: Callable[..., Any]
    init_kwargs: dict[str, Any]
    y_true: Any
    y_pred: Any
    wrong: Any
    reference: Callable[..., Any]
    sparse: Any


def case(build, init_kwargs, y_true, y_pred, wrong, reference, sparse=None):
    wrong = np.concatenate([y_true[:-1], [wrong]])
    sparse = y_true if sparse is None else sparse
    return Case(build, init_kwargs, y_true, y_pred, wrong, reference, sparse)


HKR_KWARGS = {"alpha": 2.0, "margin": 1.5}
ONE_HOT = np.eye(3)[CLASSES]
CASES = {
    "KantorovichRubinstein": case(
        losses.KantorovichRubinstein,
        {},
        BINARY[:, None],
        COLUMN,
        [2],
        lambda y, s, w: -w.sum() * gap(y, s[:, 0], w),
        BINARY,
    ),
    "HingeMargin": case(
        losses.HingeMargin,
        {"margin": 1.5},
        2 * BINARY - 1,
        COLUMN,
        3,
        lambda y, s, w: w @ hinge(y, s[:, 0]),
    ),
    "HKR": case(losses.HKR, HKR_KWARGS, BINARY, COLUMN, 0.5, hkr),
    "HKR_of_columns": case(
        losses.HKR, HKR_KWARGS, BINARY[:, None], COLUMN, [-1], hkr, BINARY
    ),
    "MulticlassHinge": case(
        losses.MulticlassHinge,
        {"margin": 1.5},
        CLASSES,
        SCORES,
        3,
        multiclass_hinge,
    ),
    "MulticlassHinge_of_rows": case(
        losses.MulticlassHinge,
        {"margin": 1.5},
        ONE_HOT,
        SCORES,
        [1, 1, 0],
        multiclass_hinge,
        CLASSES,
    ),
    "MulticlassHKR": case(
        losses.MulticlassHKR,
        HKR_KWARGS,
        CLASSES[:, None],
        SCORES,
        [-1],
        multiclass_hkr,
        CLASSES,
    ),
    "MulticlassHKR_of_rows": case(
        losses.MulticlassHKR,
        HKR_KWARGS,
        ONE_HOT,
        SCORES,
        [0, 0, 0],
        multiclass_hkr,
        CLASSES,
    ),
    "MulticlassSoftHKR": case(
        losses.MulticlassSoftHKR,
        {**HKR_KWARGS, "temperature": 3.0},
        CLASSES,
        SCORES,
        1.5,
        soft_hkr,
    ),
    "MultilabelHKR": case(
        losses.MultilabelHKR,
        HKR_KWARGS,
        ROWS,
        SCORES,
        [0, 2, 1],
        multilabel_hkr,
    ),
    "MultilabelHKR_of_signs": case(
        losses.MultilabelHKR,
        HKR_KWARGS,
        2 * ROWS - 1,
        SCORES,
        [0, 1, 1],
        multilabel_hkr,
    ),
    "TemperatureBinaryCrossentropy": case(
        losses.TemperatureBinaryCrossentropy,
        {"temperature": 2.0},
        BINARY,
        COLUMN,
        2,
        binary_crossentropy,
    ),
    "TemperatureCategoricalCrossentropy": case(
        losses.TemperatureCategoricalCrossentropy,
        {"temperature": 2.0},
        SOFT,
        SCORES,
        [0.5, 0.0, 0.0],
        crossentropy,
    ),
    "TemperatureSparseCategoricalCrossentropy": case(
        losses.TemperatureSparseCategoricalCrossentropy,
        {"temperature": 2.0},
        CLASSES,
        SCORES,
        3,
        lambda y, s, w: crossentropy(np.eye(3)[y], s, w),
    ),
    "CurvatureCrossentropy": case(
        build_curvature_crossentropy,
        {},
        CLASSES,
        SCORES,
        3,
        curvature_crossentropy,
    ),
}
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
