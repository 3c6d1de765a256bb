"""Indices of elements by address: of numpy's arrays, of lists, bytes and bytearrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.targets import object_words

if TYPE_CHECKING:
    from collections.abc import Sequence


class Layout(NamedTuple):
    """Where elements are.

    Attributes:
        first: Address of the element at index 0, 0, ….
        size: Bytes of an element.
        shape: Elements along each axis.
        strides: Bytes from one element to the next, along each axis.

    """

    first: int
    size: int
    shape: Sequence[int]
    strides: Sequence[int]


def layout(thing: Any) -> Layout | None:
    """Return where the elements of an object are; None if it has no elements that can be found."""
    kind = type(thing)
    if kind is np.ndarray:
        return Layout(thing.ctypes.data, thing.itemsize, thing.shape, thing.strides)
    if kind is bytes:
        return Layout(id(thing) + bytes.__basicsize__ - 1, 1, [len(thing)], [1])
    table = object_words.tables().get(kind) if kind is list or kind is bytearray else None
    if table is None:
        return None
    size = object_words.WORD if kind is list else 1
    return Layout(int(table(np.array([id(thing)], np.uint64))[0]), size, [len(thing)], [size])


def at(of: Layout, address: int) -> str:
    """Return the index of the element at an address, as Python writes it; empty if there is none."""
    rest = address - of.first
    index = [0] * len(of.shape)
    axes = sorted(range(len(of.shape)), key=lambda axis: abs(of.strides[axis]), reverse=True)
    rest -= sum(min(0, (of.shape[axis] - 1) * of.strides[axis]) for axis in axes)
    for axis in axes:
        step = abs(of.strides[axis])
        index[axis] = min(rest // step, of.shape[axis] - 1) if step else 0
        rest -= index[axis] * step
        if of.strides[axis] < 0:
            index[axis] = of.shape[axis] - 1 - index[axis]
    return str(index) if index and 0 <= rest < of.size and min(index) >= 0 else ""
