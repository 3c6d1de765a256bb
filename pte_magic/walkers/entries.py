"""`Entries`: raw entries, and where they were found; every walker returns them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.linux.address_bits import PLAIN, AddressBits
from pte_magic.text.units import counted
from pte_magic.walkers.overlapping_rows import disjoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SPAN = np.dtype([("vaddr", "<u8"), ("size", "<u8"), ("count", "<u4"), ("level", "<i4")])
"""A run of entries of one level: first address, bytes that each entry covers, entries, level."""


_SHORT = 16  # entries; up to here Python's own numbers are faster than an array's
_LONG = 1 << 12  # entries of a run whose addresses are written at once
_MOST = (1 << 32) - 1  # the count of a span


class Entries:
    """Raw entries in ascending order of address; made by `entries`.

    Attributes:
        entry: The entries as read, ``uint64[n]``.
        encoding: Name of their format, such as ``"x86_64"`` or ``"arm64_4k"`` (see `decode`), or ``"pagemap"`` for the
            words of /proc/PID/pagemap.
        walker: Name of the walker that read them.
        protnone: For pagemap only: True for pages in a region that allows no access, ``bool[n]``.
        address_bits: How to read the address bits of the entries.

    """

    __module__ = "pte_magic"

    __slots__ = ("_spans", "address_bits", "encoding", "entry", "protnone", "walker")

    def __init__(  # noqa: PLR0913, PLR0917  (by position: names would cost a tenth of what one entry takes)
        self,
        entry: NDArray[np.uint64],
        spans: NDArray[Any] | bytes,
        encoding: str,
        walker: str,
        protnone: NDArray[np.bool_] | None = None,
        address_bits: AddressBits = PLAIN,
    ) -> None:
        self.entry = entry
        self._spans = spans
        self.encoding = encoding
        self.walker = walker
        self.protnone = protnone
        self.address_bits = address_bits

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        told = state[1]
        if "address_bits" not in told:  # an older version made this pickle
            told["address_bits"] = AddressBits(*(told.pop(name) for name in AddressBits._fields))
        for name, value in told.items():
            setattr(self, name, value)

    @property
    def encryption_mask(self) -> int:
        """The bit by which entries of their host say that memory is encrypted, or 0."""
        return self.address_bits.encryption_mask

    @property
    def frames_hidden(self) -> bool:
        """True if page frame numbers and swap locations were taken out of them, as this user may not see these."""
        return self.address_bits.frames_hidden

    @property
    def spans(self) -> NDArray[Any]:
        """Runs of entries of one level: an array with the fields ``vaddr``, ``size``, ``count`` and ``level``.

        The counts add up to ``n``. Within a run, addresses ascend by its size.
        """
        if isinstance(self._spans, bytes):  # until somebody asks: an array takes as long as reading an entry
            self._spans = np.frombuffer(self._spans, SPAN)
        return self._spans

    def __len__(self) -> int:
        return len(self.entry)

    def __repr__(self) -> str:
        place = f", {self.spans[0]['vaddr'].item():#x}-{self.end:#x}" if len(self) else ""
        return (
            f"<Entries: {counted(len(self), 'raw entry', 'raw entries')} of {self.encoding}, by {self.walker}{place}>"
        )

    @property
    def vaddr(self) -> NDArray[np.uint64]:
        """First address that each entry covers, ``uint64[n]``; computed when asked."""
        found = np.empty(len(self.entry), np.uint64)
        _put_addresses(found, self._some_spans)
        return found

    def where(self) -> NDArray[np.uint64]:
        """Return `vaddr` and `size` in one array, ``uint64[2, n]``."""
        spans = self._some_spans
        found = np.empty((2, len(self.entry)), np.uint64)
        _put_addresses(found[0], spans)
        found[1] = spans["size"][0] if len(spans) == 1 else np.repeat(spans["size"], spans["count"].astype(np.intp))
        return found

    @property
    def _some_spans(self) -> NDArray[Any]:
        spans = self.spans
        return spans if spans["count"].all() else spans[spans["count"] > 0]

    @property
    def end(self) -> int:
        """First address after the last entry; there is at least one entry."""
        first, size, count, _ = self.spans[-1].item()
        return int(first + size * count)

    @property
    def size(self) -> NDArray[np.uint64]:
        """Bytes that each entry covers, ``uint64[n]``; computed when asked."""
        return np.repeat(self.spans["size"], self._counts)

    @property
    def level(self) -> NDArray[np.int8]:
        """Level of each entry, ``int8[n]``: from 0 for pgd to 4 for pte, -1 where unknown; computed when asked."""
        if len(self.spans) == 1:
            return np.full(len(self.entry), self.spans["level"][0], np.int8)
        return np.repeat(self.spans["level"].astype(np.int8), self._counts)

    @property
    def _counts(self) -> NDArray[np.intp]:
        """Counts of the spans for `numpy.repeat`: on 32-bit userlands its integers cannot hold all ``<u4``."""
        return self.spans["count"].astype(np.intp)

    def part(self, first: int, last: int) -> Entries:
        """Return the entries ``first`` to ``last - 1``; their array is a view of this one's."""
        ends = np.cumsum(self.spans["count"], dtype=np.int64)
        starts = ends - self.spans["count"]
        at = slice(int(np.searchsorted(ends, first, "right")), int(np.searchsorted(starts, last)))
        spans = self.spans[at].copy()
        skipped = np.maximum(first - starts[at], 0)
        spans["vaddr"] += skipped.astype(np.uint64) * spans["size"]
        spans["count"] = np.minimum(ends[at], last) - starts[at] - skipped
        protnone = None if self.protnone is None else self.protnone[first:last]
        return self._like(self.entry[first:last], spans, protnone)

    def disjoint(self, end: int, told: int | None = None) -> Entries:
        """Return the entries without overlaps, which there are where page tables changed during the walk.

        Args:
            end: The first address after the walk's range.
            told: The first address whose row the caller does not have yet; None if it has no rows.

        """
        entry, spans = disjoint(self.entry, self.spans, end, told)
        return self if entry is self.entry else self._like(entry, spans, None)

    def _like(self, entry: NDArray[np.uint64], spans: NDArray[Any], protnone: NDArray[np.bool_] | None) -> Entries:
        return Entries(entry, spans, self.encoding, self.walker, protnone, self.address_bits)


def _put_addresses(to: NDArray[np.uint64], spans: NDArray[Any]) -> None:
    """Write the first address of each entry to an array, at the speed of memory where a run has thousands of them."""
    if len(to) <= _SHORT:
        runs = [range(first, first + size * count, size) for first, size, count, _ in spans.tolist()]
        to[:] = list(chain.from_iterable(runs))
        return
    if len(spans) * _LONG <= len(to):
        at = 0
        for first, size, count, _ in spans.tolist():
            _put_run(to[at : at + count], first, size)
            at += count
        return
    counts = spans["count"].astype(np.intp)
    # The distance to the entry before; then their sums, in place.
    to[:] = np.repeat(spans["size"], counts)
    lasts = spans["vaddr"] + spans["size"] * (spans["count"] - np.uint32(1))
    to[np.cumsum(counts) - counts] = np.append(spans["vaddr"][:1], spans["vaddr"][1:] - lasts[:-1])
    np.cumsum(to, out=to)


def _put_run(to: NDArray[np.uint64], first: int, size: int) -> None:
    start = np.uint64(first) + np.arange(min(len(to), _LONG), dtype=np.uint64) * np.uint64(size)
    parts, rest = divmod(len(to), _LONG)
    if parts:  # all sums of `start`, which stays in the processor's cache, and the distances of the parts
        distances = np.arange(parts, dtype=np.uint64) * np.uint64(size * _LONG)
        np.add.outer(distances, start, out=to[: parts * _LONG].reshape(parts, _LONG))
    if rest:
        to[parts * _LONG :] = start[:rest] + np.uint64(parts * _LONG * size)


def joined_runs(spans: NDArray[Any]) -> NDArray[Any]:
    """Return spans with those as one that go on where the one before ends; the same array if there are none."""
    vaddr, size, count, level = (spans[name] for name in SPAN.names or ())
    goes_on = (vaddr[1:] == (vaddr + size * count)[:-1]) & (size[1:] == size[:-1]) & (level[1:] == level[:-1])
    if not goes_on.any() or count.sum(dtype=np.uint64) > _MOST:
        return spans
    firsts = np.flatnonzero(np.append(True, ~goes_on))
    found = spans[firsts]
    found["count"] = np.add.reduceat(count, firsts)
    return found


def rows_before(spans: NDArray[Any], address: int) -> int:
    """Return the number of entries that begin before an address."""
    before = spans[: int(np.searchsorted(spans["vaddr"], np.uint64(address)))]
    if not len(before):
        return 0
    first, size, count, _ = before[-1].item()
    return int(before["count"][:-1].sum(dtype=np.int64) + min(count, -(-(address - first) // size)))


def same(one: Entries | None, other: Entries | None) -> bool:
    """Tell whether two walks of the same addresses found the same raw entries."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one.entry, other.entry) and np.array_equal(one.spans, other.spans)


def join(parts: Sequence[Entries]) -> Entries:
    """Return the entries of `parts`, which one walker read, one after the other."""
    if len(parts) == 1:
        return parts[0]
    protnone = [part.protnone for part in parts if part.protnone is not None]
    return Entries(
        np.concatenate([part.entry for part in parts]),
        np.concatenate([part.spans for part in parts]),
        parts[0].encoding,
        parts[0].walker,
        np.concatenate(protnone) if protnone else None,
        parts[0].address_bits,
    )
