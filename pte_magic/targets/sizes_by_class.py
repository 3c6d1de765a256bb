"""`Kind`: what is known of all objects of a class: their sizes, and whether they lead to other objects."""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.targets import object_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FLAGS, _ITEM, _BASIC = (type.__dict__[f"__{name}__"].__get__ for name in ("flags", "itemsize", "basicsize"))
_HAVE_GC, _BEFORE = 1 << 14, 3 << 3  # Py_TPFLAGS_HAVE_GC; _MANAGED_WEAKREF and _MANAGED_DICT: two words before it
_BEYOND = (types.ModuleType, type, types.CodeType, types.BuiltinFunctionType, types.NoneType, bool, types.EllipsisType)
_MEASURED: tuple[Any, ...] = (int, bytes, tuple)  # their items lie within; where there are many, others are wrong
_WIDTHS = (1, 2, 4)  # bytes of a letter


class Kind(NamedTuple):
    """A class, as all its objects are.

    Attributes:
        type: The class.
        leads: True if its objects may refer to others.
        is_beyond: True if they belong to the program, such as modules, classes and code, and not to variables.
        head: Bytes before ``id()`` that belong to the object.
        size: Bytes from there on, without tables elsewhere; 0 if the objects differ.

    """

    type: Any
    leads: bool
    is_beyond: bool
    head: int
    size: int


@functools.cache
def _header() -> int:
    """Return the bytes of the garbage collector's header, which Python without a global lock does not have."""
    return sys.getsizeof(()) - tuple.__sizeof__(())


def of(sample: Any) -> Kind:
    """Return what is known of the class of an object; no code of the class runs."""
    kind: Any = type(sample)
    flags = _FLAGS(kind)
    has_gc, is_beyond = bool(flags & _HAVE_GC), issubclass(kind, _BEYOND)
    head = (_header() if has_gc else 0) + (2 * object_words.WORD if flags & _BEFORE else 0)
    if is_beyond or issubclass(kind, (str, *_MEASURED)):
        size = 0
    elif _ITEM(kind):
        size = _BASIC(kind)
    else:  # it counts attributes that lie within: as many as the class has places for
        size = object.__sizeof__(sample)
    return Kind(kind, (has_gc or issubclass(kind, np.ndarray)) and not is_beyond, is_beyond, head, size)


def sizes(kind: Kind, things: Sequence[Any], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the bytes of objects of one class from ``id()`` on, without tables elsewhere, ``int64[n]``."""
    if kind.is_beyond or kind.size:
        return np.full(len(things), kind.size, np.int64)
    if issubclass(kind.type, str):
        return _of_texts(things, ids) if kind.type is str else _each(object.__sizeof__, things)
    base = next(base for base in _MEASURED if issubclass(kind.type, base))
    return _each(base.__sizeof__, things)  # of a whole number, object's own takes flags for its length


def _of_texts(things: Sequence[Any], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the sizes of texts, without the copy in UTF-8 that may be elsewhere, and that Python counts, too."""
    found = _each(str.__sizeof__, things)
    letters = object_words.lengths(ids) + 1
    others = np.flatnonzero(found != str.__sizeof__("") - 1 + letters)  # not all ASCII, which is its own UTF-8
    fits = [str.__basicsize__ - object_words.WORD + letters[others] * width for width in _WIDTHS]
    # With a copy the width cannot be told: then it is the least, so that no byte of another object is counted.
    exact = np.logical_or.reduce([size == found[others] for size in fits])
    found[others] = np.where(exact, found[others], fits[0])
    return found


def _each(measure: Any, things: Sequence[Any]) -> NDArray[np.int64]:
    return np.fromiter(map(measure, things), np.int64, len(things))
