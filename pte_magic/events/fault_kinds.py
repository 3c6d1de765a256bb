"""Kinds of page faults, in words: from the entries before and after them, and the region that they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.events.fault_record import MAJOR, NOT_READ, REFUSED, UNFINISHED
from pte_magic.formats import decode
from pte_magic.formats.decoding_plan import sizes
from pte_magic.formats.field import STATES
from pte_magic.linux.geometry import LEVELS
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.formats.kernel import Kernel
    from pte_magic.linux.regions import Region

KINDS = (
    "first touch: fresh page",
    "first touch: fresh huge page",
    "first touch: page of zeros",
    "copy-on-write",
    "copy-on-write of the page of zeros",
    "page of shared memory",
    "page cache",
    "page cache, read from disk",
    "swap-in",
    "made writable",
    "NUMA hint",
    "page was being moved",
    "userfaultfd",
    "page table only",
    "spurious",
    "refused",
    "unfinished",
    "major",
    "minor",
)
"""All kinds. The last two are those of faults whose entries were not read: with a wait for a disk, and without."""

ANONYMOUS, FILE, PRIVATE_FILE, SHARED = range(4)
"""The backing of memory: nothing, or it is not mapped any more; a file; a private mapping of one; shared memory."""

_CODE = {name: np.int8(at) for at, name in enumerate(KINDS)}
_SHARED = (b"/dev/zero", b"/memfd:", b"/dev/shm/", b"/SYSV", b"/anon_hugepage")  # shmem and hugetlb without a file
_NONE, _TABLE, _PRESENT, _PROTNONE, _SWAP, _MIGRATION, _MARKER = (
    STATES.index(name) for name in ("none", "table", "present", "protnone", "swap", "migration", "marker")
)
_COLUMNS = frozenset({"state", "rw", "special", "pfn", "uffd_wp"})
_MOST_LEVEL = len(LEVELS) - 1


class Entry(NamedTuple):
    """The decoded entries of faults, of one moment.

    Attributes:
        state: Indices into `STATES`, ``int8[n]``; -1 where it was not read.
        rw: Whether it may be written to, ``bool[n]``.
        special: Whether it is special, as the page of zeros, ``bool[n]``.
        uffd_wp: Whether userfaultfd protects it, ``bool[n]``.
        pfn: Page frames, ``uint64[n]``; 0 where there is none.
        size: Bytes that it covers, ``uint64[n]``; 0 where it was not read.

    """

    state: NDArray[np.int8]
    rw: NDArray[np.bool_]
    special: NDArray[np.bool_]
    uffd_wp: NDArray[np.bool_]
    pfn: NDArray[np.uint64]
    size: NDArray[np.uint64]


def decoded(entry: NDArray[np.uint64], level: NDArray[np.uint8], kernel: Kernel) -> Entry:
    """Decode entries.

    Args:
        entry: Raw entries, ``uint64[n]``.
        level: Their levels, ``uint8[n]``: indices into ``LEVELS``, or `NOT_READ`.
        kernel: The kernel that they come from.

    """
    n, read = len(entry), level != NOT_READ
    levels = np.where(read, level, _MOST_LEVEL).astype(np.int8)
    found = decode.columns(np.ascontiguousarray(entry), levels, kernel, _COLUMNS)

    def bit(name: str) -> NDArray[np.bool_]:
        column = found.get(name)
        if column is None:
            return np.zeros(n, np.bool_)
        values = column.values.astype(np.bool_)
        return values if column.missing is None else values & ~column.missing

    state = found["state"].values if n else np.empty(0, np.int8)
    pfn = found.get("pfn")
    frames = np.zeros(n, np.uint64)
    if pfn is not None:
        frames = pfn.values if pfn.missing is None else np.where(pfn.missing, np.uint64(0), pfn.values)
    return Entry(
        np.where(read, state, np.int8(-1)).astype(np.int8),
        bit("rw"),
        bit("special"),
        bit("uffd_wp"),
        frames,
        np.where(read, sizes(kernel)[levels], np.uint64(0)),
    )


def kinds(before: Entry, after: Entry, backing: NDArray[np.uint8], flags: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the kind of each fault, an index into `KINDS`, ``int8[n]``.

    The rules follow ``__handle_mm_fault()`` and ``handle_pte_fault()`` in mm/memory.c, which look at the entry$
    before in the same order.

    Args:
        before: The entries before.
        after: The entries after.
        backing: The backing of the memory, ``uint8[n]``.
        flags: The flags of the records, ``uint8[n]``.

    """
    major = flags & MAJOR != 0
    present, was_present = after.state == _PRESENT, before.state == _PRESENT
    huge = present & (after.size > np.uint64(PAGE_SIZE))
    anonymous = backing == ANONYMOUS
    nothing = (before.state == _NONE) & present
    mapped = was_present & present
    # Reading untouched memory maps the page of zeros read-only. The huge one is special only since 6.18.
    zero = present & anonymous & ~after.rw & (after.special | (huge & nothing))
    was_zero = was_present & anonymous & ~before.rw & before.special
    other = (before.pfn != after.pfn) | (before.size != after.size)
    rules = (
        ("refused", flags & REFUSED != 0),
        ("unfinished", flags & UNFINISHED != 0),
        ("swap-in", (before.state == _SWAP) & present),
        ("page was being moved", before.state == _MIGRATION),
        ("userfaultfd", (before.state == _MARKER) | (mapped & before.uffd_wp & ~after.uffd_wp)),
        ("NUMA hint", before.state == _PROTNONE),
        ("first touch: page of zeros", nothing & zero),
        ("copy-on-write", nothing & (backing == PRIVATE_FILE) & after.rw),
        ("page of shared memory", nothing & (backing == SHARED)),
        ("page cache, read from disk", nothing & ~anonymous & major),
        ("page cache", nothing & ~anonymous),
        ("first touch: fresh huge page", nothing & huge),
        ("first touch: fresh page", nothing),
        ("copy-on-write of the page of zeros", mapped & was_zero & ~zero),
        ("copy-on-write", mapped & ~before.rw & after.rw & other),
        ("made writable", mapped & ~before.rw & after.rw),
        ("spurious", mapped),
        ("page table only", (before.state >= 0) & (after.state >= 0)),
        ("major", major),
    )
    found = np.full(len(present), _CODE["minor"], np.int8)
    for name, rows in reversed(rules):
        found[rows] = _CODE[name]
    return found


def backings(regions: Sequence[Region], address: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return what is behind each address, ``uint8[n]``.

    Args:
        regions: Regions, ascending.
        address: Addresses, ``uint64[n]``.

    """
    code = np.array([_backing(region) for region in regions] or [ANONYMOUS], np.uint8)
    start = np.array([region.start for region in regions], np.uint64)
    end = np.array([region.end for region in regions], np.uint64)
    at = np.searchsorted(start, address, side="right").astype(np.intp) - 1
    inside = at >= 0
    inside[inside] = address[inside] < end[at[inside]]
    return np.where(inside, code[np.maximum(at, 0)], np.uint8(ANONYMOUS)).astype(np.uint8)


def _backing(region: Region) -> int:
    if region.path.startswith(_SHARED):
        return SHARED if region.permissions.endswith("s") or region.path.startswith(b"/SYSV") else PRIVATE_FILE
    if region.is_anonymous:
        return ANONYMOUS
    return PRIVATE_FILE if region.permissions.endswith("p") else FILE


def brought(kind: NDArray[np.int8], after: Entry) -> NDArray[np.uint64]:
    """Return the bytes that each fault brought, ``uint64[n]``: the size of its page, or 0; of one not read, 0.

    Of the page cache, the kernel may map up to 16 pages around it as well (``do_fault_around()``), which are not
    counted; nor is the page of zeros, which takes no memory.
    """
    nothing = [_CODE[name] for name in _WITHOUT]
    return np.where(np.isin(kind, nothing), np.uint64(0), after.size).astype(np.uint64)


_WITHOUT = (
    "first touch: page of zeros",
    "made writable",
    "NUMA hint",
    "page was being moved",
    "page table only",
    "spurious",
    "refused",
    "unfinished",
)
