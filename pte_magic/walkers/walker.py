"""The base class of all walkers: each takes an address space and a range, and returns raw entries."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from pte_magic.linux.address_bits import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.walkers.entries import Entries

NO_FRAMES = "no page frame numbers or swap locations"
"""The words for the values that not every user may see."""


class Walker(ABC):
    """A reader of page-table entries. A class says what it can read, for `doctor`; an object reads it."""

    name: ClassVar[str]
    """The walker's name, as in the ``walker`` column."""
    sees: ClassVar[str]
    """The data that it can read."""
    by: ClassVar[str]
    """The means by which it reads: eBPF, for example."""
    has_raw_entries: ClassVar[bool] = True
    """True if it reads entries; false if it reads only the kernel's words about them."""
    frames_as_pagemap: ClassVar[bool] = False
    """True if it shows page frames only to users to whom /proc/PID/pagemap shows them."""
    encoding: str
    """The format of its entries."""
    address_bits = PLAIN
    """How to read the address bits of the entries of the last walk."""
    closed: bool = False
    """True if it cannot be used any more, as after `close` or a fork; then it raises WalkerClosedError."""

    def __init__(self) -> None:
        _all.add(self)

    @classmethod
    def make(cls, *, patient: bool = False) -> Self:
        """Return a walker of this class; with `patient`, wait longer for it, as the user has named it.

        Raises:
            WalkerUnavailableError: It cannot work here; says why and what to type.

        """
        del patient
        return cls()

    @classmethod
    def to_prepare(cls) -> str:
        """Return the slow step before it can work, which `doctor` leaves out, and what to type; or an empty text."""
        return ""

    @classmethod
    def why_no_frames(cls) -> str:
        """Return why it shows this user no page frames, if it works and shows none, and what to type."""
        return NO_FRAMES

    @abstractmethod
    def walk(self, space: AddressSpace, start: int, end: int, *, tables: bool = False) -> Entries:
        """Return the entries of ``[start, end)``; with `tables` also those passed on the way, if it sees them.

        Each entry at which the walk ends is one row, an empty one at whatever level it was met. Rows ascend, do not
        overlap and cover the whole range, whatever happens meanwhile (see `overlapping_rows`); the first and
        the last may cover more.
        """

    @abstractmethod
    def chunks(self, space: AddressSpace, start: int, end: int, *, tables: bool = False) -> Iterator[Entries]:
        """Yield the same piece by piece, in bounded memory: joined, the pieces are what `walk` returns.

        Nothing is held between two pieces: the loop's body may walk, too, and may leave the loop.
        """

    @abstractmethod
    def close(self) -> None:
        """Unload it, when no walk is under way. The walker is of no use afterwards, if there was anything to unload."""

    @abstractmethod
    def abandon(self) -> None:
        """Forget all that it has in a forked child: it is the parent's."""


_all: weakref.WeakSet[Walker] = weakref.WeakSet()


def _in_child() -> None:
    for one in list(_all):
        one.abandon()


os.register_at_fork(after_in_child=_in_child)
