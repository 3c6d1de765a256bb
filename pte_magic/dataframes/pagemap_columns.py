"""The columns that /proc/PID/pagemap has for everybody, whatever walker read the entries.

``mmap_exclusive`` and ``file`` are bits 56 and 61 of its words, and the ``kind`` ``zero_page`` is the kernel's page of
zeros, which PAGEMAP_SCAN shows. All are read after the walk, so they count only where they are of the same page:
present as in the entry, and of the same page frame if both show one.

Of a huge page, only the word of its first page is read: most kernels ask that one for all of them
(``pagemap_pmd_range()``, fs/proc/task_mmu.c: before 73c3484d5b13 in 6.11, and again since it uses
``__folio_page_mapped_exclusively()``, 6.15). After fork(), the first page may be this process' own again while the
child still maps the others, but then the entry does not allow writing: ``mmap_exclusive`` is missing for such an entry,
and for those of which nobody knows whether they allow it, unless smaps says that nothing of the region is shared. Or
the child may map the first page still, and no other: ``mmap_exclusive`` is false, but the `attrs` have `PARTLY`, unless
smaps says that all of the region is shared.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.dataframes.pagemap_regions import in_anonymous, mapped, sharing
from pte_magic.errors import NoAddressSpaceError
from pte_magic.formats.decode import Column
from pte_magic.formats.field import KINDS, STATES
from pte_magic.linux import ksm, mapped_files, pagemap_scan, sizes
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.linux.pagemap import EXCLUSIVE, FILE, PLACE, PRESENT, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace

    Bools = NDArray[np.bool_]

MAPPED = "mapped"
"""The name in `attrs` for the kind of all files and shared memory, in words of `mapped_files`, if they are of one."""
HUGETLB = "hugetlb"
"""The name in `attrs` with which all huge pages are of hugetlb."""
ZEROS_UNKNOWN, KSM, PARTLY = "zeros_unknown", "ksm", "partly"
"""Names in `attrs`: pages that are mapped elsewhere, too, may be that of zeros; KSM may have merged them; or, of
a huge page, they may be some of its small ones only."""

_PRESENT, _PROTNONE, _SWAP = (STATES.index(name) for name in ("present", "protnone", "swap"))
_ZERO_PAGE = KINDS.index("zero_page")
_GAP = 16  # pages that are read in vain, rather than to call the kernel once more
_MANY = 1 << 13  # rows; of fewer, words are read sooner than regions
_MOST = 1 << 16  # rows whose words are read at once


class _Pages(NamedTuple):
    """Entries that map memory: rows, addresses, whether they are huge, words, whether these are of the same page."""

    row: NDArray[np.intp]
    vaddr: NDArray[np.uint64]
    huge: Bools
    word: NDArray[np.uint64]
    same: Bools


def columns(
    space: AddressSpace,
    where: NDArray[np.uint64],
    found: dict[str, Column],
    word: NDArray[np.uint64] | None = None,
) -> dict[str, Any]:
    """Add the columns to those of decoded entries.

    Args:
        space: The address space of the entries.
        where: The first address of each entry, and the bytes that it covers, ``uint64[2, n]``.
        found: The decoded columns; ``mmap_exclusive``, ``file`` and ``kind`` are added or replaced.
        word: The words of pagemap, ``uint64[n]``, of a walk that has read these.

    Returns:
        Items for `attrs`: `ZEROS_UNKNOWN`, `KSM`, `PARTLY` or `HUGETLB` with True, `MAPPED` with words.

    """
    if "state" not in found:
        return {}
    state, _ = found["state"]
    n, maps = len(state), (state == _PRESENT) | (state == _PROTNONE)
    certain = _certain(space, where[0], found) if word is None and n > _MANY else np.zeros(n, np.bool_)
    row = np.flatnonzero(maps & ~certain)
    try:
        pages = _pages(space, _of(where, row), row, found, word)
        zero, unsure = _zeros(space, pages, found, sized=word is None or pagemap_scan.works())
        of_file, file_known = _files(space, pages)
    except NoAddressSpaceError:  # it has exited since the walk
        return {}
    exclusive, exclusive_known = pages.word & EXCLUSIVE != 0, pages.same
    partly = False
    if pages.huge.any():
        of_thp = pages.huge & (_of(where, row)[1] == sizes.huge()) & ~zero
        in_doubt = pages.same & of_thp & ~(exclusive & _true(found, "rw", row) & ~of_file)
        if in_doubt.any():
            none, every = sharing(space, pages.vaddr[in_doubt])
            bit = exclusive[in_doubt]
            partly = bool((~bit & ~every).any())
            in_doubt[in_doubt] = bit & ~none
            exclusive_known = pages.same & ~in_doubt
    found["mmap_exclusive"] = _joined(certain.copy(), ~certain, row, exclusive, exclusive_known)
    found["file"] = _joined(np.zeros(n, np.bool_), ~certain, row, of_file & ~zero, file_known & pages.same | zero)
    if not maps.all():
        _tell_swapped(found, state == _SWAP, word)
    if zero.any():
        kind = found["kind"][0] if "kind" in found else np.full(n, -1, np.int8)
        kind[row[zero]] = _ZERO_PAGE
        found["kind"] = Column(kind)
    of_files = of_file & ~zero & pages.same
    told: dict[str, Any] = {}
    if of_files.any() and (what := mapped(space, pages.vaddr[of_files], pages.huge[of_files])):
        told[MAPPED] = what
    large = pages.huge & pages.same & ~zero
    if large.any() and mapped(space, pages.vaddr[large], pages.huge[large]) == mapped_files.HUGETLB:
        told[HUGETLB] = True
    if exclusive.all():
        return told
    shared = pages.same & ~exclusive & ~of_file & ~zero & ~pages.huge
    told |= {ZEROS_UNKNOWN: unsure.any(), KSM: shared.any() and ksm.has_merged(), PARTLY: partly}
    return {name: value if name == MAPPED else True for name, value in told.items() if value}


def _tell_swapped(found: dict[str, Column], swapped: Bools, word: NDArray[np.uint64] | None) -> None:
    """Add that a place in swap is in the entries of anonymous pages only; pagemap may mean another entry by it."""
    values, missing = found["file"]
    if word is not None:
        values[swapped] = word[swapped] & FILE != 0
    found["file"] = Column(values, np.asarray(missing) & ~swapped)


def carried(frame: pd.DataFrame, parts: Sequence[Any]) -> None:
    """Keep what is in doubt in one of the parts of the result of `pandas.concat`."""
    for name in (ZEROS_UNKNOWN, KSM, PARTLY):
        if any(part.attrs.get(name) is True for part in parts):
            frame.attrs[name] = True
    for name in (MAPPED, HUGETLB):
        kinds = [part.attrs.get(name) for part in parts]
        frame.attrs.pop(name, None)
        if kinds and kinds[0] is not None and kinds.count(kinds[0]) == len(kinds):
            frame.attrs[name] = kinds[0]


def _pages(
    space: AddressSpace,
    where: NDArray[np.uint64],
    row: NDArray[np.intp],
    found: dict[str, Column],
    word: NDArray[np.uint64] | None,
) -> _Pages:
    vaddr, huge = where[0], where[1] > PAGE_SIZE
    word = _words(space, vaddr // np.uint64(PAGE_SIZE)) if word is None else _of(word, row)
    same = word & PRESENT != 0
    place = word & PLACE
    if len(row) and "pfn" in found:
        pfn, missing = found["pfn"]
        differ = (place != 0) & (place != _of(pfn, row))
        same &= ~differ if missing is None else ~differ | _of(missing, row)
    return _Pages(row, vaddr, huge, word, same)


def _certain(space: AddressSpace, vaddr: NDArray[np.uint64], found: dict[str, Column]) -> Bools:
    """Tell which entries map pages that are mapped only here, and not of files, without reading their words.

    To read these takes longer than to read the entries. An anonymous page that may be written to is mapped only here:
    since 6c287605fd56 (5.19), an entry allows writing only if the page is exclusive (PG_anon_exclusive,
    include/linux/page-flags.h), and fork() takes that away.
    """
    if "rw" not in found:
        return np.zeros(len(vaddr), np.bool_)
    rw, missing = found["rw"]
    may: Bools = rw & (found["state"][0] == _PRESENT)
    return in_anonymous(space, vaddr) & (may if missing is None else may & ~missing)


def _words(space: AddressSpace, page: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Read the words of pages, ``uint64[n]``, many at once where they are neighbours."""
    found = np.empty(len(page), np.uint64)
    edges = np.flatnonzero(np.diff(page) > _GAP) + 1  # also where they descend: the difference is huge then
    for at, end in pairwise(sorted({*edges.tolist(), *range(0, len(page), _MOST), len(page)})):
        first, last = int(page[at]), int(page[end - 1])
        read = words(space, first * PAGE_SIZE, last - first + 1)
        found[at:end] = read if len(read) == end - at else read[page[at:end] - page[at]]
    return found


def _zeros(space: AddressSpace, pages: _Pages, found: dict[str, Column], *, sized: bool) -> tuple[Bools, Bools]:
    """Tell which entries map the page of zeros, and which of the others may do so, ``bool[m]`` each.

    Nobody writes to it, so its entry is never writable or dirty. Its words have no bit, but those of a huge one have
    that of files since 92b455b54584 (6.11, and older stable kernels): where there are no files, this tells it.
    PAGEMAP_SCAN shows the small one since 6.7, and the huge one since 6.17, after it knew guard regions. Without
    `sized`, any page may be a part of a huge one.
    """
    file = pages.word & FILE != 0
    may_be = pages.same & (pages.word & EXCLUSIVE == 0) & (~file | pages.huge | (not sized))
    if not may_be.any():
        return may_be, may_be
    for name in ("rw", "dirty", "saved_dirty"):
        may_be &= ~_true(found, name, pages.row)
    if not may_be.any():
        return may_be, may_be
    zero = may_be & file
    if zero.any():
        zero &= in_anonymous(space, pages.vaddr)
    scanned = _within(space, pages, may_be, pagemap_scan.PAGE_IS_PFNZERO)
    if scanned is None:
        zero |= may_be & ~pages.huge & _true(found, "special", pages.row)
        known = ~pages.huge & _known(found, "special", pages.row)
    else:
        zero |= may_be & scanned
        known = ~pages.huge | pagemap_scan.knows_guards()
    return zero, may_be & ~file & ~zero & ~known


def _files(space: AddressSpace, pages: _Pages) -> tuple[Bools, Bools]:
    """Tell which entries map pages of files or of shared memory, and of which this is known, ``bool[m]`` each.

    The words of huge pages have the bit since 92b455b54584 (6.11); PAGEMAP_SCAN shows it since 6.7.
    """
    file, known = pages.word & FILE != 0, np.ones(len(pages.word), np.bool_)
    in_doubt = pages.huge & pages.same & ~file
    if not in_doubt.any() or pagemap_scan.knows_guards():
        return file, known
    scanned = _within(space, pages, in_doubt, pagemap_scan.PAGE_IS_FILE)
    if scanned is None:
        return file, ~in_doubt | in_anonymous(space, pages.vaddr)
    return file | in_doubt & scanned, known


def _within(space: AddressSpace, pages: _Pages, rows: Bools, category: int) -> Bools | None:
    """Tell which entries begin in a run of PAGEMAP_SCAN, ``bool[m]``; `rows` are those to ask for."""
    asked = pages.vaddr[rows]
    runs = pagemap_scan.having(space, category, int(asked.min()), int(asked.max()) + PAGE_SIZE)
    if runs is None:
        return None
    at = np.searchsorted(runs["end"], pages.vaddr, side="right")
    starts = np.append(runs["start"], ~np.uint64(0))
    found: Bools = starts[at] <= pages.vaddr
    return found


def _of(values: NDArray[Any], row: NDArray[np.intp]) -> NDArray[Any]:
    """Return the values of some rows, the last axis; without a copy if these are all."""
    return values if len(row) == values.shape[-1] else values[..., row]


def _true(found: dict[str, Column], name: str, row: NDArray[np.intp]) -> Bools:
    if name not in found:
        return np.zeros(len(row), np.bool_)
    values: Bools = _of(found[name][0], row)
    return values & _known(found, name, row)


def _known(found: dict[str, Column], name: str, row: NDArray[np.intp]) -> Bools:
    if name not in found:
        return np.zeros(len(row), np.bool_)
    missing = found[name].missing
    return np.ones(len(row), np.bool_) if missing is None else ~_of(missing, row)


def _joined(values: Bools, missing: Bools, row: NDArray[np.intp], some: Bools, known: Bools) -> Column:
    """Return a column of `values`, with those of some rows in their places."""
    values[row], missing[row] = some & known, ~known
    return Column(values, missing)
