"""A cache of the proofs of this process, by the digests of their numbers."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Hashable

from keras_lip.proofs.method_notes import collect_methods
from keras_lip.proofs.method_notes import note_method

# A proof is a float and a few words, so this many take about a megabyte.
_CAPACITY = 4096

_proofs: OrderedDict[Hashable, tuple[float, tuple[str, ...]]] = OrderedDict()
_lock = threading.Lock()


def prove_once(key: Hashable, prove: Callable[[], float]) -> float:
    """Returns the cached proof of a key, or proves it now.

    The methods of a proof are recorded in both cases.

    Args:
        key: Digest of all numbers that the proof depends on.
        prove: Function that computes the proof.
    """
    with _lock:
        found = _proofs.get(key)
        if found is not None:
            _proofs.move_to_end(key)
    if found is None:
        with collect_methods() as methods:
            found = float(prove()), tuple(methods)
        with _lock:
            _proofs[key] = found
            while len(_proofs) > _CAPACITY:
                _proofs.popitem(last=False)
    for method in found[1]:
        note_method(method)
    return found[0]


def forget_proofs() -> None:
    """Clears the cache."""
    with _lock:
        _proofs.clear()
