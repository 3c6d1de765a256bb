"""The words of objects about themselves: dtype and shape, or how many items; only known classes are asked."""

from __future__ import annotations

import array
from collections import deque
from typing import Any

import numpy as np
import pandas as pd

from pte_magic.targets import memory_in_attributes, says_of_libraries
from pte_magic.text.units import counted

_SIZED: dict[Any, tuple[str, str]] = {
    str: ("letter", ""),
    bytes: ("byte", ""),
    bytearray: ("byte", ""),
    list: ("item", ""),
    tuple: ("item", ""),
    set: ("item", ""),
    frozenset: ("item", ""),
    deque: ("item", ""),
    array.array: ("item", ""),
    dict: ("key", ""),
}
_SHAPE, _DTYPE, _BASE = (np.ndarray.__dict__[name] for name in ("shape", "dtype", "base"))


def of(thing: Any) -> str:
    """Return the words; empty if the class is not known."""
    kind: Any = type(thing)
    if issubclass(kind, np.ndarray):
        return says_of_libraries.typed(_DTYPE.__get__(thing), _SHAPE.__get__(thing))
    if words := says_of_libraries.of(thing):  # first: some of them derive from a dictionary that is empty
        return words
    for base, (one, many) in _SIZED.items():
        if issubclass(kind, base):
            return counted(base.__len__(thing), one, many)
    if issubclass(kind, (pd.DataFrame, pd.Series)):
        manager: Any = memory_in_attributes.own(thing, "_mgr")
        return "" if manager is None else _of_pandas(manager)
    return ""


def _of_pandas(manager: Any) -> str:
    axes = zip(reversed(manager.axes), ("row", "column"), strict=False)
    return " x ".join(counted(_length(axis), name) for axis, name in axes)


def _length(axis: Any) -> int:
    """Return the length of an index, by the class of pandas that it derives from."""
    base: Any = next(base for base in (pd.RangeIndex, pd.MultiIndex, pd.Index) if issubclass(type(axis), base))
    length: int = base.__len__(axis)
    return length


def base(thing: Any) -> Any:
    """Return the array of numpy, or the tensor, whose memory a view shows; None if it is not a view of one."""
    if (tensor := says_of_libraries.base(thing)) is not None:
        return tensor
    found = _BASE.__get__(thing) if issubclass(type(thing), np.ndarray) else None
    while issubclass(type(found), np.ndarray) and issubclass(type(_BASE.__get__(found)), np.ndarray):
        found = _BASE.__get__(found)
    return found if issubclass(type(found), np.ndarray) else None
