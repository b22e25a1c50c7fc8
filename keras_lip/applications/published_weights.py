"""Trained weights of applications, which the package contains."""

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import ParamSpec
from typing import TypeVar

import keras

_FOLDER = pathlib.Path(__file__).with_name("weights")

_Arguments = ParamSpec("_Arguments")
_Model = TypeVar("_Model", bound=keras.Model)


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """Trained weights, and what is proven of them.

    `keras_lip.applications.list_weights` returns them.

    Attributes:
        name: Name to pass as the argument `weights`.
        application: Name of the function of `keras_lip.applications`.
        arguments: Dict of the arguments of the network.
        dataset: Name of the data set that it was trained on.
        recipe: Name of the recipe in `experiments/recipes.toml`.
        file: Name of the file.
        num_bytes: Integer. Size of the file.
        sha256: String. SHA-256 digest of the file.
        lipschitz_bound: Float. Proven bound of the network in l2, on the
            machine that trained it. Certify the loaded network again: a backend
            may round its kernels in another way.
        accuracy: Float. Accuracy on the test set.
        certified_accuracy: Dict from l2 radii to certified accuracies on the
            test set, for pixels in [0, 1].
        license: String. License of the weights.
        description: String. What the network is and what it is meant for.
    """

    name: str
    application: str
    arguments: Mapping[str, Any]
    dataset: str
    recipe: str
    file: str
    num_bytes: int
    sha256: str
    lipschitz_bound: float
    accuracy: float
    certified_accuracy: Mapping[float, float]
    license: str
    description: str

    def __str__(self) -> str:
        certified = ", ".join(
            f"{accuracy:.2%} at {radius:g}"
            for radius, accuracy in self.certified_accuracy.items()
        )
        return (
            f"{self.application}(weights={self.name!r}): accuracy "
            f"{self.accuracy:.2%}, certified (l2) {certified}; "
            f"{self.num_bytes / 1e3:.0f} kB"
        )


def list_weights(application: str | None = None) -> list[PublishedWeights]:
    """Lists the trained weights that the package contains.

    Args:
        application: Name of a function of `keras_lip.applications`, such as
            `"FullyConnected3"`. Defaults to `None`, for all of them.

    Returns:
        List of `PublishedWeights`, which print with their certified accuracies.
        It is empty if there are none.

    Example:

    >>> weights = keras_lip.applications.list_weights("FullyConnected3")
    >>> weights[0].name, weights[0].dataset
    ('mnist', 'mnist')
    """
    entries = json.loads((_FOLDER / "index.json").read_text("utf-8"))
    return [
        PublishedWeights(
            **{
                **entry,
                "certified_accuracy": {
                    float(radius): accuracy
                    for radius, accuracy in entry["certified_accuracy"].items()
                },
            }
        )
        for entry in entries
        if application in (None, entry["application"])
    ]


def with_weights(
    application: Callable[_Arguments, _Model],
) -> Callable[_Arguments, _Model]:
    """Lets an application load weights, by its argument `weights`.

    A name stands for weights of the package and for the arguments of their
    network; arguments that are given as well must be the same. A path is loaded
    into the network of the given arguments.

    Args:
        application: Function with an argument `weights`, which it ignores.

    Returns:
        The function, with the same signature.
    """
    signature = inspect.signature(application)

    @functools.wraps(application)
    def make(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Model:
        given = dict(signature.bind(*args, **kwargs).arguments)
        weights = given.pop("weights", None)
        if weights is None:
            return application(*args, **kwargs)
        name = application.__name__
        entry = _find(name, weights)
        if entry is not None:
            needed: dict[str, Any] = {
                **{key: p.default for key, p in signature.parameters.items()},
                **entry.arguments,
            }
            _check_arguments(entry, given, needed)
            given = {**entry.arguments, **given}
        model: Any = application(**given)  # type: ignore[call-arg]
        model.load_weights(_check_file(entry, weights))
        return model

    return make


def _find(application: str, weights: Any) -> PublishedWeights | None:
    """Returns the weights of a name, or `None` for a path.

    Raises:
        ValueError: If it is neither.
    """
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(
            "`weights` must be a name, a path or `None`. Received: "
            f"weights={weights!r} of type `{type(weights).__name__}`"
        )
    known = {each.name: each for each in list_weights(application)}
    if weights in known:
        return known[str(weights)]
    if pathlib.Path(weights).is_file():
        return None
    names = ", ".join(map(repr, known)) or "none"
    raise ValueError(
        f"`weights` must be a name that `list_weights({application!r})` lists "
        f"({names}), or the path of a `.weights.h5` file. Received: "
        f"weights={str(weights)!r}"
    )


def _check_arguments(
    entry: PublishedWeights, given: dict[str, Any], needed: dict[str, Any]
) -> None:
    differ = [
        f"{name}={value!r} instead of {needed[name]!r}"
        for name, value in given.items()
        if name != "name" and _plain(value) != _plain(needed[name])
    ]
    if differ:
        raise ValueError(
            f"The weights {entry.name!r} belong to a network of other "
            "arguments. Leave them out, and the network of the weights is "
            f"made. Received: {', '.join(differ)}"
        )


def _plain(value: Any) -> Any:
    """Returns a tuple as the list that JSON reads."""
    return list(value) if isinstance(value, tuple) else value


def _check_file(
    entry: PublishedWeights | None, weights: Any
) -> str | os.PathLike[str]:
    """Returns the path of weights, and checks the digest of published ones."""
    if entry is None:
        return pathlib.Path(weights)
    path = _FOLDER / entry.file
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != entry.sha256:
        raise ValueError(
            f"The file of the weights {entry.name!r} is another one than the "
            f"published one, whose certificates are known. Install keras_lip "
            f"again. Received: a file with the SHA-256 {digest}, expected: "
            f"{entry.sha256}"
        )
    return path
