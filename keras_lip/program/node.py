"""The base class of the nodes of a program."""

import abc
import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import numpy as np

from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.proof_cache import prove_once
from keras_lip.proofs.norms import NORMS
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array
from keras_lip.types import Shape
from keras_lip.types import Tensor

# The shape of one sample, or `None` if it is unknown.
SampleShape = tuple[int | None, ...] | None

# Constants are read with the largest absolute value to which backends may round
# them. Rounded to float32, they are at least this fraction of it.
CONSTANT_SLACK = 1 - 2.0**-22

_BYTES_PER_PART = 2**18

# Nodes of fewer numbers are digested faster than threads are started.
_FEW_NUMBERS = 2**18


@dataclasses.dataclass(frozen=True, eq=False)
class Node(abc.ABC):
    """An operation on tensors. It contains numbers, but no layer or tensor.

    Subclasses are frozen dataclasses of float64 arrays, numbers, strings and
    tuples of these. Arrays of tensors have a batch axis, shapes do not.
    """

    norms: ClassVar[tuple[str, ...]] = NORMS
    """The norms in which a constant is known."""

    depends_on_shape: ClassVar[bool] = False
    """Whether the constant depends on the shape of the inputs."""

    is_bounded_without_shape: ClassVar[bool] = False
    """Whether the constant for the shape `None` holds for every shape."""

    @abc.abstractmethod
    def apply(self, *inputs: Array) -> Array:
        """Computes the operation, in float64."""

    @abc.abstractmethod
    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        """Returns the gradients of `sum(upstream * apply(*inputs))`."""

    @abc.abstractmethod
    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        """Computes the operation with stock layers and `keras.ops`.

        Args:
            inputs: Symbolic tensors of Keras.
            dtype: Name of the operation's compute dtype.
            **kwargs: `name`, and for linear maps `activation`, of the layer.
        """

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        """Returns the shape of the output, or `None` if it is unknown."""
        return shapes[0]

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        """Says why inputs of these shapes do not fit, or returns `None`.

        Some backends broadcast sizes of one, which increases the norm, or infer
        other groups of channels.
        """
        return None

    def prove(self, norm: str, shape: SampleShape) -> float:
        """Proves a Lipschitz constant of an operation with one input.

        Operations with several inputs override `propagate` instead.
        """
        raise NotImplementedError

    def constant(self, norm: str, shape: SampleShape) -> float:
        """Returns the constant, proven once for the same numbers.

        Args:
            norm: `"l2"` or `"linf"`.
            shape: Shape of the input.

        Returns:
            Float. An upper bound, infinite if a number is not finite.
        """
        key = (self.digest, norm, shape if self.depends_on_shape else None)
        return prove_once(key, functools.partial(self.prove, norm, shape))

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        """Proves how much an operation with one input contracts at most.

        Args:
            norm: `"l2"` or `"linf"`.
            shape: Shape of the input.

        Returns:
            Float `c`, such that the distance of two outputs is at least `c`
            times the distance of their inputs. Zero if nothing is known.
        """
        return 0.0

    def contraction(self, norm: str, shape: SampleShape) -> float:
        """Returns `prove_contraction`, proven once for the same numbers.

        Constants may be rounded to float32 at inference.
        """
        key = ("contraction", self.digest, norm, shape)
        prove = functools.partial(self.prove_contraction, norm, shape)
        return prove_once(key, prove)

    def propagate(
        self, norm: str, bounds: Sequence[float], shapes: Sequence[SampleShape]
    ) -> float:
        """Bounds the output, given the bounds of the inputs."""
        (bound,) = bounds
        return multiply_up(bound, self.constant(norm, shapes[0]))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        """Encloses the output. By default the operation does not round."""
        (source,) = inputs
        constant = self.constant("l2", source.value.shape[1:])
        outputs = source.with_value(self.apply(source.value), constant)
        return outputs.with_flushing(machine)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the kind and all numbers."""
        state = hashlib.sha256(type(self).__name__.encode())
        for field in dataclasses.fields(self):
            if not field.metadata.get("is_label"):
                hash_value(state, getattr(self, field.name))
        return state.hexdigest()

    @functools.cached_property
    def is_finite(self) -> bool:
        """Whether all numbers are finite."""
        return all(
            _is_finite(getattr(self, field.name))
            for field in dataclasses.fields(self)
        )

    def describe(self) -> str:
        """Returns the kind and the shapes of arrays."""
        parts = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                parts.append(f"{field.name}{list(value.shape)}")
            elif value is not None and not isinstance(value, Node):
                parts.append(f"{field.name}={value}")
        return f"{type(self).__name__}({', '.join(parts)})"


def digest_nodes(nodes: Iterable[Node]) -> None:
    """Computes the digests of large nodes, with all cores."""
    large = [
        node
        for node in nodes
        if "digest" not in vars(node) and _count_numbers(node) > _FEW_NUMBERS
    ]
    if len(large) > 1:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            collections.deque(pool.map(lambda node: node.digest, large), 0)


def _count_numbers(value: Any) -> int:
    """Counts the numbers in the arrays of a node."""
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, Node):
        fields = dataclasses.fields(value)
        return sum(_count_numbers(getattr(value, each.name)) for each in fields)
    return sum(map(_count_numbers, value)) if isinstance(value, tuple) else 0


def hash_value(state: Any, value: Any) -> None:
    """Hashes a number, string, array or tuple by a unique encoding.

    Args:
        state: Hash object of `hashlib`. It is updated.
        value: The value, or a tuple or list of values. Two arrays are equal if
            their dtypes, shapes and entries are equal. The memory layout does
            not matter.
    """
    if isinstance(value, np.ndarray):
        # Audits of the first version contain digests that treat a number as an
        # array of one entry.
        shape = value.shape or (1,)
        state.update(f"array {value.dtype.str} {shape}:".encode())
        for part in _contiguous_parts(value):
            state.update(part.reshape(-1).view("u1"))
    elif isinstance(value, tuple | list):
        state.update(f"tuple {len(value)}:".encode())
        for part in value:
            hash_value(state, part)
    elif hasattr(value, "digest"):
        state.update(f"{type(value).__name__} {value.digest};".encode())
    elif isinstance(value, float):
        state.update(f"float {value.hex()};".encode())
    else:
        state.update(f"{type(value).__name__} {value!r};".encode())


def _contiguous_parts(array: Array) -> Iterator[Array]:
    """Yields an array, or copies of its parts, in C order."""
    if array.flags.c_contiguous:
        yield array
        return
    # Copying a transposed matrix is fast if it fits into a cache.
    rows = max(1, len(array) * _BYTES_PER_PART // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield np.ascontiguousarray(array[start : start + rows])


def _is_finite(value: Any) -> bool:
    if isinstance(value, np.ndarray | float):
        return bool(np.all(np.isfinite(value)))
    if isinstance(value, tuple | list):
        return all(map(_is_finite, value))
    return (
        bool(getattr(value, "is_finite", True))
        if isinstance(value, Node)
        else True
    )


def count_entries(shape: Shape | None) -> int:
    """Returns the number of entries of a shape, without unknown sizes."""
    return math.prod(size or 1 for size in shape or ())


def enlarges(shape: SampleShape, *parameters: Any) -> bool:
    """Whether a parameter might enlarge samples of a shape by broadcasting."""
    if shape is None:
        return False
    # Parameters may have a batch axis of size one.
    reversed_shape = (*reversed(shape), 1)
    return any(
        len(sizes) > len(reversed_shape)
        or any(
            size not in (1, axis)
            for size, axis in zip(reversed(sizes), reversed_shape, strict=False)
        )
        for sizes in map(np.shape, parameters)
    )


def known(shape: Shape | None) -> bool:
    """Whether every size of a shape is known."""
    return shape is not None and None not in shape
