"""The base class of searched families: compilation and training."""

import abc
import importlib.util
import math
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

import keras_lip as kl
from keras_lip.tuning import search_space
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


class NoisyBatches(keras.utils.PyDataset):
    """Batches with a new order and new Gaussian noise in every epoch.

    Args:
        x: Array of images.
        y: Array of labels.
        batch_size: Positive integer.
        stddev: Non-negative float. Standard deviation of the noise.
        seed: Integer.
    """

    def __init__(
        self, x: Any, y: Any, batch_size: int, stddev: float, seed: int
    ) -> None:
        super().__init__()
        self.x, self.y = x, y
        self.batch_size, self.stddev = batch_size, stddev
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        noise = self.rng.normal(0, self.stddev, self.x[chosen].shape)
        return (self.x[chosen] + noise).astype("float32"), self.y[chosen]

    def on_epoch_end(self) -> None:
        self.order = self.rng.permutation(len(self.x))


class StopOnDivergence(keras.callbacks.Callback):
    """Fails the trial if the loss of an epoch is not finite.

    Keras-tuner does not fail it, because accuracies are finite even if the
    logits are NaN. It would record the trial as a bad one.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise keras_tuner.errors.FailedTrialError(
                f"The loss of epoch {epoch + 1} is {loss}."
            )


OBJECTIVE = "val_certified_accuracy"


class BaseHyperModel(keras_tuner.HyperModel, abc.ABC):
    """A family of certified classifiers for a hyperparameter search.

    Subclasses implement `build_layers`. This class declares the loss, learning
    rate and noise, which all families have.

    A model is evaluated once, after training. The learning rate has then
    decayed to zero. Choosing the best epoch on the validation set would give
    optimistic results.

    Args:
        input_shape: Tuple. Shape of one image, channels last.
        classes: Integer of at least two.
        epsilon: Positive float. Radius of the certified accuracy.
        name: String or `None`, as in `keras_tuner.HyperModel`.
        tunable: Boolean, as in `keras_tuner.HyperModel`.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        epsilon: float,
        name: str | None = None,
        tunable: bool = True,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        _check_tensorboard()
        self.input_shape = _check_image(input_shape)
        self.classes = check_positive_integer("classes", classes)
        if self.classes < 2:
            raise ValueError(
                "`classes` must be at least 2: certified accuracy compares "
                f"classes. Received: classes={classes}"
            )
        self.epsilon = check_number("epsilon", epsilon, 0.0, open_low=True)

    @abc.abstractmethod
    def build_layers(self, hp: Any) -> list[keras.layers.Layer]:
        """Declares the architecture and creates its layers, except the head.

        Args:
            hp: A `keras_tuner.HyperParameters`.

        Returns:
            List of layers from images to vectors.
        """

    def declare_hyperparameters(self, hp: Any) -> None:
        self.build_layers(hp)
        search_space.choose_head(hp)
        search_space.choose_loss(hp)
        search_space.choose_learning_rate(hp)
        search_space.choose_noise(hp)

    def build(self, hp: Any) -> keras.Model:
        layers = self.build_layers(hp)
        head = search_space.choose_head(hp)
        search_space.choose_noise(hp)
        model = kl.models.LipschitzSequential(
            [keras.Input(self.input_shape), *layers, head(self.classes)]
        )
        self._compile(hp, model, search_space.choose_learning_rate(hp))
        return model

    def fit(
        self,
        hp: Any,
        model: keras.Model,
        x: Any,
        y: Any,
        validation_data: tuple[Any, Any],
        epochs: int = 30,
        initial_epoch: int = 0,
        batch_size: int = 64,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: Any = 0,
    ) -> dict[str, float]:
        """Trains a model and evaluates it on the validation data.

        Starting at `initial_epoch`, the learning rate increases for a twentieth
        of the steps and then decays to zero along a cosine. So a model that
        Hyperband resumes is also evaluated at the end of a cosine.

        Args:
            hp: A `keras_tuner.HyperParameters`.
            model: The result of `build` for `hp`.
            x: Array of images.
            y: Array of class indices.
            validation_data: Tuple of images and class indices.
            epochs: Positive integer. The epoch to train to.
            initial_epoch: Integer. The epoch to train from.
            batch_size: Positive integer.
            callbacks: Callbacks of the training.
            verbose: As in `keras.Model.fit`.

        Returns:
            Dict of metrics on the validation data: certified accuracy, mean
            certifiable robustness and accuracy.

        Raises:
            keras_tuner.errors.FailedTrialError: If the loss is not finite.
        """
        noise = search_space.choose_noise(hp)
        batches = NoisyBatches(x, y, batch_size, noise, seed=initial_epoch)
        rate = search_space.choose_learning_rate(hp)
        steps = max(1, (epochs - initial_epoch) * len(batches))
        self._compile(hp, model, _warm_up_and_decay(rate, steps))
        model.fit(
            batches,
            epochs=epochs,
            initial_epoch=initial_epoch,
            callbacks=[*callbacks, StopOnDivergence()],
            verbose=verbose,
        )
        return self.certify(model, *validation_data)

    def certify(self, model: keras.Model, x: Any, y: Any) -> dict[str, float]:
        """Certifies a model on validation data.

        Args:
            model: A model of this family.
            x: Array of images.
            y: Array of class indices.

        Returns:
            Dict of metrics: certified accuracy at `epsilon`, mean certifiable
            robustness and accuracy.
        """
        # This proves the bounds once. Two metrics would prove them twice.
        report = kl.certificates.certify(model, x, y, [self.epsilon])
        correct = report.prediction == report.label
        robustness = np.where(correct, report.radius, -report.radius)
        return {
            OBJECTIVE: report.certified_accuracy(self.epsilon),
            "val_accuracy": report.accuracy,
            "val_mean_certifiable_robustness": float(np.mean(robustness)),
        }

    def _compile(self, hp: Any, model: keras.Model, learning_rate: Any) -> None:
        model.compile(
            keras.optimizers.Adam(learning_rate),
            search_space.choose_loss(hp),
            metrics=["accuracy"],
        )


def _warm_up_and_decay(rate: float, steps: int) -> Any:
    rising = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / 100,
        warmup_target=rate,
        warmup_steps=rising,
        decay_steps=max(1, steps - rising),
    )


def _check_image(input_shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ValueError(
            "`input_shape` must be the shape of an image, (height, width, "
            f"channels). Received: input_shape={input_shape}"
        )
    return tuple(check_positive_integer("input_shape", side) for side in shape)


def _check_tensorboard() -> None:
    """Raises an error if keras-tuner would fail every trial."""
    if keras.backend.backend() != "tensorflow":
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            "Under TensorFlow keras-tuner needs `tensorboard`. Install the "
            'extra `tuning`: pip install "keras-lip[tuning]"'
        )
