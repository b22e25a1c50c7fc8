"""Training recipes, read from `recipes.toml`."""

import dataclasses
import inspect
import json
import math
import pathlib
import tomllib
from typing import Any

import keras
import numpy as np
from image_data import DATASETS

import keras_lip as kl
from keras_lip.model_layers import visit_layers

FILE = pathlib.Path(__file__).with_name("recipes.toml")
INPUTS = ("unit", "centered", "normalized", "scaled")

# Published results: numbers, and numbers by radius. Attacks are called after
# the attack, and the last two are of the first 100 test images.
MEASURES = ("clean", "clean_first_100", "empirical_lipschitz_constant")
MEASURES_BY_RADIUS = (
    "certified",
    "pgd",
    "fgsm",
    "autoattack",
    "boundary",
    "pointwise",
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings for training a network on a data set.

    Args:
        network: Name of a function in `keras_lip.applications`.
        arguments: Its arguments, except `input_shape` and `classes`.
        loss: `class`, a name in `keras_lip.losses`, and its arguments.
        optimizer: `class`, a name in `keras.optimizers`, and its arguments,
            except the learning rate.
        learning_rate: The largest learning rate.
        schedule: `kind`, a key of `SCHEDULES`, and its arguments.
        epochs: Number of epochs.
        batch_size: Number of samples in a batch.
        inputs: `"unit"` for pixels in [0, 1], `"centered"` to subtract their
            mean, `"normalized"` to divide by their standard deviation as well,
            or `"scaled"` by one number for all channels, the root of their mean
            variance. The model and its Lipschitz constant include this
            preprocessing.
        crop: Largest number of pixels by which images are moved.
        flip: Whether images are mirrored at random.
        rand_augment: Arguments of `image_data.SeededRandAugment`. Empty for no
            such augmentation.
        cutout: Side of a square that is blackened in each image, or 0.
        epsilon: `start`, `end` and `share`. The epsilon of the loss grows
            linearly from `start` to `end` during this share of the training.
            Empty for a loss with a fixed epsilon, or without one.
        svcm_clipping: Arguments of `keras_lip.callbacks.SVCMClipping`. Empty
            for no clipping.
        small_start: Whether `shrink_kernels` is called on the new network.
        kernel_decay: Factor of the kernels that is added to their gradients,
            before momentum: the weight decay of PyTorch's SGD. That of Keras's
            optimizers is an argument of `optimizer`.
        dtype_policy: Dtype policy of the training. The saved model computes in
            float32.
        paper: Published results in percent, each a number or a list of a mean
            and a standard deviation: by name those of `MEASURES`, and by name
            and radius those of `MEASURES_BY_RADIUS`.
    """

    network: str
    arguments: dict[str, Any]
    loss: dict[str, Any]
    optimizer: dict[str, Any]
    learning_rate: float
    schedule: dict[str, Any]
    epochs: int
    batch_size: int
    inputs: str = "unit"
    crop: int = 0
    flip: bool = False
    rand_augment: dict[str, Any] = dataclasses.field(default_factory=dict)
    cutout: int = 0
    epsilon: dict[str, float] = dataclasses.field(default_factory=dict)
    svcm_clipping: dict[str, int] = dataclasses.field(default_factory=dict)
    small_start: bool = False
    kernel_decay: float = 0.0
    dtype_policy: str = "float32"
    paper: dict[str, Any] = dataclasses.field(default_factory=dict)


def read_recipes(file=FILE):
    """Reads the entries of all recipes, by name.

    A recipe with a `*` in its name is replaced by its variants.

    Args:
        file: Path of the file of recipes. Defaults to `recipes.toml`.

    Raises:
        SystemExit: If a recipe with a `*` in its name has no variants.
    """
    recipes = tomllib.loads(pathlib.Path(file).read_text())
    read = {}
    for name, entries in recipes.items():
        if "*" not in name:
            read[name] = entries
            continue
        common = {k: v for k, v in entries.items() if k != "variants"}
        for key, changes in _find_variants(name, recipes).items():
            variant = _merge(common, changes)
            if "extends" in variant:
                variant["extends"] = variant["extends"].replace("*", key)
            read[name.replace("*", key)] = variant
    return read


def _find_variants(name, recipes):
    """Returns the changes of each variant, by the part of its name."""
    variants = recipes[name].get("variants")
    if variants:
        return variants
    base = recipes[name].get("extends", "")
    if "*" not in base or base not in recipes:
        raise SystemExit(
            f"The recipe {name} needs a table `variants`, or to extend a "
            "recipe with one."
        )
    return dict.fromkeys(_find_variants(base, recipes), {})


def load_recipe(name, dataset, file=FILE, changes=()):
    """Reads a recipe, with its settings for a data set.

    Args:
        name: Name of the recipe.
        dataset: Name of the data set.
        file: Path of the file of recipes. Defaults to `recipes.toml`.
        changes: Strings of the form `KEY=VALUE` that replace entries, such as
            `"crop=2"` or `"loss.margin=0.5"`. Values are written as in the
            file. Defaults to `()`.

    Raises:
        SystemExit: If the recipe, the data set or an entry of the recipe is
            unknown, or a change is not of this form.
    """
    recipes = read_recipes(file)
    _check_known("recipe", name, recipes)
    _check_known("data set", dataset, DATASETS)
    entries = _extend(name, recipes)
    replaced = entries.get(dataset, {})
    entries = _merge(
        {key: value for key, value in entries.items() if key not in DATASETS},
        replaced,
    )
    for change in changes:
        entries = _merge(entries, _parse_change(change))
    fields = {field.name for field in dataclasses.fields(Recipe)}
    for entry in entries:
        _check_known(f"entry of the recipe {name}", entry, fields)
    recipe = Recipe(**entries)
    _check_known("network", recipe.network, _networks())
    _check_known("schedule", recipe.schedule.get("kind"), SCHEDULES)
    _check_known("inputs", recipe.inputs, INPUTS)
    for measure in recipe.paper:
        _check_known("result", measure, MEASURES + MEASURES_BY_RADIUS)
    return recipe


def _parse_change(change):
    """Returns the entries of a change, which may name its value as a word."""
    key, equals, value = change.partition("=")
    for text in (value, json.dumps(value)) if equals else ():
        try:
            return tomllib.loads(f"{key} = {text}")
        except tomllib.TOMLDecodeError:
            continue
    raise SystemExit(
        "--set takes KEY=VALUE, such as crop=2 or loss.margin=0.5. "
        f"Received: {change!r}"
    )


def _extend(name, recipes):
    entries = dict(recipes[name])
    base = entries.pop("extends", None)
    if base is None:
        return entries
    _check_known("recipe", base, recipes)
    return _merge(_extend(base, recipes), entries)


def _merge(base, changes):
    """Replaces entries, in tables one by one. `false` removes an entry.

    A table with a `class` or `kind` replaces the whole old table. So does the
    table `paper`, because its results belong to one network.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            is_other = key == "paper" or {"class", "kind"} & value.keys()
            merged[key] = value if is_other else _merge(old, value)
        elif value is False and not isinstance(old, bool):
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _check_known(what, name, known):
    if name not in known:
        raise SystemExit(
            f"The {what} must be one of {', '.join(sorted(known))}. "
            f"Received: {name!r}"
        )


def _networks():
    return [
        name
        for name in _classes(kl.applications)
        if inspect.isfunction(getattr(kl.applications, name))
    ]


def _classes(module):
    return [name for name in dir(module) if name[0].isupper()]


def build_network(recipe, dataset):
    """Builds the classifier of a recipe, including its preprocessing."""
    known = DATASETS[dataset]
    network = getattr(kl.applications, recipe.network)(
        input_shape=known.shape, classes=known.classes, **recipe.arguments
    )
    if recipe.small_start:
        shrink_kernels(network)
    if recipe.inputs == "unit":
        return network
    variance = np.square(known.stddev)
    if recipe.inputs == "centered":
        variance = np.ones_like(variance)
    elif recipe.inputs == "scaled":
        variance = np.full_like(variance, variance.mean())
    prepare = keras.layers.Normalization(mean=known.mean, variance=variance)
    inputs = keras.Input(known.shape)
    return kl.models.LipschitzModel(inputs, network(prepare(inputs)))


def shrink_kernels(model):
    """Divides kernels for Björck's iteration by the roots of their heights.

    The authors' code of Li et al. starts BCOP and dense layers from such
    kernels. They make the same network, since the iteration starts from kernels
    divided by their norms. But the steps of Adam have the size of the learning
    rate, and turn a small kernel further.

    Args:
        model: A new model.
    """
    for layer in visit_layers(model):
        if (
            isinstance(layer, kl.layers.BCOPConv2D | kl.layers.OrthogonalDense)
            and layer.get_config()["parametrization"]["class_name"] == "Bjorck"
        ):
            for weight in layer.trainable_weights:
                if weight.name.startswith("free_"):
                    weight.assign(weight / weight.shape[-2] ** 0.5)


def build_loss(recipe, head=None):
    """Builds the loss, which for a `CurvatureHead` refers to the head."""
    arguments = dict(recipe.loss)
    name = arguments.pop("class")
    _check_known("loss", name, _classes(kl.losses))
    if name == "CurvatureCrossentropy":
        arguments["head"] = head
    return getattr(kl.losses, name)(**arguments)


def build_epsilon_scheduler(recipe):
    """Returns the callback that increases the loss's epsilon, or `None`."""
    if not recipe.epsilon:
        return None
    start, end = recipe.epsilon["start"], recipe.epsilon["end"]
    ramp = recipe.epsilon["share"] * recipe.epochs
    return kl.callbacks.EpsilonScheduler(
        lambda epoch: start + (end - start) * min(1.0, epoch / ramp)
    )


def add_kernel_decay(model, recipe):
    """Adds half of the decay times the squared norms of kernels to the loss.

    Kernels are the free ones of all layers but a `CurvatureHead`. Biases are
    left out. Call it before the model is compiled.
    """
    if not recipe.kernel_decay:
        return
    decay = keras.regularizers.L2(recipe.kernel_decay / 2)
    for layer in visit_layers(model):
        for weight in layer.trainable_weights:
            if weight.name == "free_kernel":
                weight.regularizer = decay


def build_optimizer(recipe, steps):
    """Builds the optimizer for the given number of training steps.

    With its argument `use_ema`, the final weights are averages over the last
    steps. The states of power iterations are not trained, so they are not
    averaged.
    """
    arguments = dict(recipe.optimizer)
    name = arguments.pop("class")
    _check_known("optimizer", name, _classes(keras.optimizers))
    if name == "ScheduleFreeAdamW" and keras.backend.backend() != "jax":
        # Keras 3.15 reads a variable after it has changed: only JAX's arrays
        # keep the value from before.
        raise SystemExit(
            "Keras's ScheduleFreeAdamW computes wrong averages on this "
            "backend. Use KERAS_BACKEND=jax, or another optimizer."
        )
    schedule = dict(recipe.schedule)
    kind = schedule.pop("kind")
    rate = SCHEDULES[kind](recipe.learning_rate, steps, **schedule)
    return getattr(keras.optimizers, name)(rate, **arguments)


def settle(model):
    """Sets weights to the averages that an optimizer trained for.

    `ScheduleFreeAdamW` computes gradients at a mix of the averages and its
    latest weights; the averages are the result. Keras sets the averages of
    `use_ema` itself.

    Args:
        model: A trained model.
    """
    optimizer = model.optimizer
    # Keras 3.12 does not have this class.
    if type(optimizer).__name__ != "ScheduleFreeAdamW":
        return
    share = optimizer.beta_1
    for weight, latest in zip(
        model.trainable_variables, optimizer._momentums, strict=True
    ):
        weight.assign((weight - (1 - share) * latest) / share)


def _constant(rate, steps):
    return keras.optimizers.schedules.ExponentialDecay(rate, steps, 1.0)


def _exponential(peak, steps, final):
    return keras.optimizers.schedules.ExponentialDecay(peak, steps, final)


def _steps(peak, steps, at, factor):
    rates = [peak * factor**power for power in range(len(at) + 1)]
    boundaries = [math.ceil(share * steps) for share in at]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _cosine(peak, steps, warmup):
    warmup_steps = max(1, round(warmup * steps))
    return keras.optimizers.schedules.CosineDecay(
        peak / 100,
        max(1, steps - warmup_steps),
        warmup_target=peak,
        warmup_steps=warmup_steps,
    )


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises linearly to a peak and falls linearly to zero.

    Args:
        peak: Float. The largest learning rate.
        steps: Integer. Number of steps.
        rise: Float. Share of the steps in which the rate rises.
    """

    def __init__(self, peak, steps, rise):
        super().__init__()
        self.peak, self.steps, self.rise = peak, steps, rise

    def __call__(self, step):
        ops = keras.ops
        share = (ops.cast(step, "float32") + 1) / self.steps
        rising = share / self.rise
        falling = (1 - share) / (1 - self.rise)
        rate = ops.minimum(rising, falling)
        return self.peak * ops.clip(rate, 0.0, 1.0)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "rise": self.rise}


class PiecewiseTriangular(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises, falls and fades out, each linearly.

    It rises from zero to the peak in 2/5 of the steps, falls to a twentieth of
    the peak in 2/5, and falls to zero in the rest.

    Reference:

    - [Trockman & Kolter, 2021](https://arxiv.org/abs/2104.07167), the schedule
      of the authors' code
    """

    def __init__(self, peak, steps):
        super().__init__()
        self.peak, self.steps = peak, steps

    def __call__(self, step):
        ops = keras.ops
        share = ops.cast(step, "float32") / self.steps
        rise = share / 0.4
        fall = 1 - 0.95 * (share - 0.4) / 0.4
        fade = 0.05 * (1 - share) / 0.2
        rate = ops.where(share < 0.4, rise, ops.where(share < 0.8, fall, fade))
        return self.peak * ops.maximum(rate, 0.0)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps}


SCHEDULES = {
    "constant": _constant,
    "cosine": _cosine,
    "exponential": _exponential,
    "one_cycle": OneCycle,
    "steps": _steps,
    "triangular": PiecewiseTriangular,
}
