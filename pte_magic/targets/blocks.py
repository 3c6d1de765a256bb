"""`Blocks`: the blocks of addresses of an object, collected one after the other."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.linux.hardware import PAGE_SIZE, untagged, user_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST = 1 << 16
"""The most blocks of one array."""


class NotOfUsersError(ValueError):
    """An object says that it lies where a process cannot have memory."""


class Blocks:
    """The blocks of an object, and notes about them.

    Attributes:
        found: First address of each block, and first address after it; no block is empty.
        notes: Notes for the user about them, each once.

    """

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self.notes: dict[str, None] = {}

    def add(self, start: int, size: int) -> None:
        """Add a block of `size` bytes, unless it is empty.

        Raises:
            NotOfUsersError: No process can have memory there.

        """
        if size > 0:
            _check(start, start + size)
            self.found.append((start, start + size))

    def say(self, note: str) -> None:
        """Add a note."""
        self.notes[note] = None

    def join(self, other: Blocks) -> None:
        """Add blocks and notes of another one."""
        self.found += other.found
        self.notes |= other.notes

    def add_strided(self, start: int, shape: Sequence[int], strides: Sequence[int], size: int) -> None:
        """Add the elements of a view: as one block, but without gaps of whole pages.

        Args:
            start: Address of the element at index 0, 0, ….
            shape: Elements along each axis.
            strides: Bytes from one element to the next, along each axis; may be negative.
            size: Bytes of an element.

        Raises:
            NotOfUsersError: No process can have memory there.

        """
        if 0 in shape:
            return
        start += sum((many - 1) * step for many, step in zip(shape, strides, strict=True) if step < 0)
        axes = sorted((abs(step), many) for many, step in zip(shape, strides, strict=True) if many > 1 and step)
        _check(start, start + size + sum(step * (many - 1) for step, many in axes))
        gaps: list[tuple[int, int]] = []  # axes along which pages lie between one element and the next
        for step, many in axes:
            if gaps or step - size >= PAGE_SIZE:
                gaps.append((step, many))
            else:
                size += (many - 1) * step
        count = prod(many for _, many in gaps)
        if count > MOST:
            self.add(start, size + sum((many - 1) * step for step, many in gaps))
            self.say(
                f"its elements are {count:,} blocks with other memory between; all memory from first to last is shown"
            )
        else:
            starts = np.array([start], np.uint64)
            for step, many in gaps:
                starts = np.add.outer(np.arange(0, many * step, step, dtype=np.uint64), starts).ravel()
            self.add_scattered(starts, starts + np.uint64(size))

    def add_scattered(self, starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> None:
        """Add many blocks; blocks without a page between them are merged.

        Raises:
            NotOfUsersError: No process can have memory there.

        """
        if not len(starts):
            return
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], np.maximum.accumulate(ends[order])
        apart = np.flatnonzero(starts[1:] >= ends[:-1] + np.uint64(PAGE_SIZE))
        firsts = starts[np.concatenate([[0], apart + 1])].tolist()
        lasts = ends[np.concatenate([apart, [len(ends) - 1]])].tolist()
        _check(firsts[0], lasts[-1])
        self.found += zip(firsts, lasts, strict=True)


def _check(start: int, end: int) -> None:
    limit = user_limit()
    if not 0 <= untagged(start) < untagged(end - 1) + 1 <= limit:
        message = f"says that it lies at {start:#x}-{end:#x}; memory of a process lies below {limit:#x}"
        raise NotOfUsersError(message)
