"""Indices of elements by address: of numpy's arrays, of lists, bytes and bytearrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.targets import object_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


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
    return many(of, np.array([address], np.uint64))[0]


def many(of: Layout, addresses: NDArray[np.uint64]) -> list[str]:
    """Return the index of the element at each address, as `at` does."""
    strides, shape = list(of.strides), list(of.shape)
    axes = sorted(range(len(shape)), key=lambda axis: abs(strides[axis]), reverse=True)
    lowest = of.first + sum(min(0, (shape[axis] - 1) * strides[axis]) for axis in axes)
    rest = addresses.astype(np.int64) - np.int64(lowest)
    inside = (rest >= 0) & bool(shape) & (min(shape, default=0) > 0)
    index = [np.zeros(len(addresses), np.int64)] * len(shape)
    for axis in axes:
        step = abs(strides[axis])
        found = np.minimum(rest // step, shape[axis] - 1) if step else np.zeros(len(rest), np.int64)
        rest = rest - found * step
        index[axis] = shape[axis] - 1 - found if strides[axis] < 0 else found
    inside &= rest < of.size
    form = f"[{', '.join(['%d'] * len(shape))}]"
    text = [form % row for row in zip(*(one.tolist() for one in index), strict=True)]
    return [one if is_in else "" for one, is_in in zip(text or [""] * len(addresses), inside.tolist(), strict=True)]
