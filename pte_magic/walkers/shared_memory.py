"""The base of the walkers in the kernel: memory that they write and Python reads, without a copy between."""

from __future__ import annotations

import functools
import struct
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.errors import PteMagicError, TargetError, WalkerClosedError, WalkerUnavailableError
from pte_magic.linux import hardware
from pte_magic.linux.interrupts import Lock
from pte_magic.walkers import replaceable_mapping
from pte_magic.walkers.entries import SPAN, Entries, join, joined_runs, rows_before
from pte_magic.walkers.walker import Walker

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace

TABLES = 1
"""Flag: also the entries on the way."""

# How the memory is laid out: the variable `w` of walk.bpf.c, and struct pte_walk_memory of stap/pte_walk.stp.
_ASKED = struct.Struct("=3Q2I")  # origin, start, end, fd, flags
_ANSWERED, _ANSWERED_AT = struct.Struct("=Q16x2I"), 8  # start, n_entries, n_spans
SPANS, SPANS_AT = 1 << 13, 4096
"""The number of spans that there is room for, and their offset."""
ENTRIES, ENTRIES_AT = (1 << 17) + 1024, SPANS_AT + SPANS * SPAN.itemsize
"""Entries, likewise."""
MEMORY_BYTES = ENTRIES_AT + ENTRIES * 8
"""The size of the memory."""
_SPAN = SPAN.itemsize

_RESERVE = 1 << 21  # entries of a result made room for at once; grown when a walk finds more
_TABLES_IN = 128  # entries, of which at most one points to a page table on the way


def views(memory: mmap.mmap, at: int = 0) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """Return arrays for all spans and entries of an area that begins at byte `at`."""
    spans = np.frombuffer(memory, SPAN, SPANS, at + SPANS_AT)
    return spans, np.frombuffer(memory, np.uint64, ENTRIES, at + ENTRIES_AT)


def not_pagemap(space: AddressSpace) -> TargetError:
    """Return the error that says that an address space has another file where its pagemap should be."""
    return TargetError(f"descriptor {space.fd} is not an open /proc/PID/pagemap")


@functools.cache
def _table_size() -> int:
    return 1 << sorted(hardware.shifts().values())[1]


class SharedMemoryWalker(Walker):
    """A walker in the kernel: called through memory that it shares with this process, one walk at a time.

    In a forked child, the walkers of its parent are closed.
    """

    _memory: mmap.mmap

    def __init__(self) -> None:
        try:
            self.encoding = hardware.encoding()
        except PteMagicError as error:
            raise WalkerUnavailableError(self.name, str(error)) from error
        self._lock = Lock()
        self._flags = 0
        super().__init__()

    def _use(self, memory: mmap.mmap) -> None:
        """Take `memory` for requests and answers."""
        self._memory = memory
        self._spans, self._entries = views(memory)

    def settle(self) -> None:
        """Keep what is loaded now, before this process gives up the privileges that loading it again takes."""

    def abandon(self) -> None:
        """Forget its resources in a forked child: they belong to the parent."""
        self.closed = True
        self._lock = Lock()  # another thread of the parent may have it
        if memory := vars(self).get("_memory"):
            replaceable_mapping.leave(memory)

    def _check(self) -> None:
        """Raise an error if it was closed, also by a fork since the answer was written.

        Raises:
            WalkerClosedError: It was.

        """
        if self.closed:
            raise WalkerClosedError(self.name)

    @abstractmethod
    def _run(self, space: AddressSpace) -> None:
        """Let the kernel answer the request in the memory; raise its error."""

    def walk(self, space: AddressSpace, start: int, end: int, *, tables: bool = False) -> Entries:
        """Return the entries of ``[start, end)`` of `space`.

        Args:
            space: The address space.
            start: First address, a multiple of the page size.
            end: First address after the range, likewise.
            tables: Also the entries on the way, each before those below it.

        Raises:
            NoAddressSpaceError: The process has exited or called exec.
            UnstableError: A page table changed at every attempt to read it.
            WalkerClosedError: It was closed.

        """
        with self._lock:
            reached, n, m = self._read(space, start, start, end, tables)
            if reached >= end:
                entry, spans = self._copy(n, m)
                found = self._entries_of(entry, spans)
                return found if m == 1 else found.disjoint(end)
            # Memory that nothing was written to is not resident, and realloc moves pages, not bytes. Of pages of the
            # smallest size the result has just this size: then the C library can give the memory of an earlier one
            # again, while new pages have to be cleared by the kernel, which takes longer than to fill them.
            pages = (end - start) // hardware.PAGE_SIZE
            entry = np.empty(min(pages + tables * (pages // _TABLES_IN + ENTRIES), _RESERVE), np.uint64)
            pieces = [self._take(entry[:n], m)]
            while reached < end:
                reached, more, m = self._read(space, start, reached, end, tables)
                if n + more > len(entry):  # or a page table changed meanwhile
                    entry.resize(2 * len(entry) + ENTRIES, refcheck=False)
                pieces.append(self._take(entry[n : n + more], m))
                self._check()
                n += more
            if n < len(entry):
                entry.resize(n, refcheck=False)
            return self._entries_of(entry, joined_runs(np.concatenate(pieces))).disjoint(end)

    def _take(self, to: NDArray[np.uint64], m: int) -> NDArray[Any]:
        """Copy all entries to another array; return a copy of the spans."""
        to[:] = self._entries[: len(to)]
        return self._spans[:m].copy()

    def _seen(self, n: int, m: int) -> tuple[NDArray[np.uint64], NDArray[Any] | bytes]:
        """Return the entries and spans of the last request, valid until the next one."""
        return self._entries[:n], self._spans[:m]

    def _copy(self, n: int, m: int) -> tuple[NDArray[np.uint64], NDArray[Any] | bytes]:
        # Bytes are copied in a third of the time of an array, of which few ask for more than the entries.
        found = self._entries[:n].copy(), self._memory[SPANS_AT : SPANS_AT + m * _SPAN]
        self._check()
        return found

    def _entries_of(self, entry: NDArray[np.uint64], spans: NDArray[Any] | bytes) -> Entries:
        return Entries(entry, spans, self.encoding, self.name, None, self.address_bits)

    def chunks(self, space: AddressSpace, start: int, end: int, *, tables: bool = False) -> Iterator[Entries]:
        """Yield the result of `walk` in pieces of at most about 132,096 entries.

        Other walks are possible between two pieces. A piece ends at the end of a page table, so that a huge page in its
        place is whole in the next piece.
        """
        reached, told = start, None
        kept: list[Entries] = []
        while reached < end:
            with self._lock:
                reached, n, m = self._read(space, start, reached, end, tables)
                kept.append(self._entries_of(*self._copy(n, m)))
            found = join(kept).disjoint(end, told)
            place = reached if reached >= end else reached & -_table_size()
            rows = rows_before(found.spans, place) if place > (start if told is None else told) else 0
            if rows:
                told = place
                yield found.part(0, rows) if rows < len(found) else found
            kept = [found.part(rows, len(found))] if rows < len(found) else []

    def views(self, space: AddressSpace, start: int, end: int, *, tables: bool = False) -> Iterator[Entries]:
        """Yield the pieces of `chunks`, each a view that is valid until the next one.

        Nothing is copied, unless a page table was removed between two steps: the arrays are the memory that the walker
        in the kernel wrote. Walks of other threads wait until the iteration ends; walks of this thread raise
        RuntimeError.
        """
        reached, told = start, None
        with self._lock:
            while reached < end:
                reached, n, m = self._read(space, start, reached, end, tables)
                yield self._entries_of(*self._seen(n, m)).disjoint(end, told)
                told = reached

    def once(  # noqa: PLR0913, PLR0917  (a request is what it is)
        self,
        space: AddressSpace,
        origin: int,
        start: int,
        end: int,
        tables: bool,  # noqa: FBT001  (like once() of all sources)
        take: Callable[[NDArray[np.uint64], NDArray[Any]], object],
    ) -> tuple[int, int, int]:
        """Call the kernel once for a part of the walk that began at `origin`; return the end of the part.

        Args:
            space: The address space.
            origin: The beginning of the whole walk.
            start: The beginning of this part.
            end: The end of the whole walk.
            tables: Also the entries on the way.
            take: Called with the entries and spans, views that are valid until it returns.

        Returns:
            The beginning of the next part, and the numbers of entries and spans.

        """
        with self._lock:
            reached, n, m = self._read(space, origin, start, end, tables)
            take(self._entries[:n], self._spans[:m])
            self._check()
            return reached, n, m

    def _read(
        self,
        space: AddressSpace,
        origin: int,
        start: int,
        end: int,
        tables: bool = False,  # noqa: FBT001, FBT002  (private, and a name costs time that a query of one page has not)
    ) -> tuple[int, int, int]:
        """Call once. Return the end of the part, and the numbers of entries and spans."""
        self._check()
        _ASKED.pack_into(self._memory, 0, origin, start, end, space.fileno(), self._flags | tables * TABLES)
        self._run(space)
        answer: tuple[int, int, int] = _ANSWERED.unpack_from(self._memory, _ANSWERED_AT)
        return answer
