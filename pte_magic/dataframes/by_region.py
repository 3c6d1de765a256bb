"""Sums of entries by region: resident, huge, swapped and shared memory, and page tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pte_magic.dataframes.pagemap_columns import PARTLY
from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.dataframes.resident import is_huge_zero, is_zero, resident
from pte_magic.linux import hardware, pagemap_scan
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.regions import Region
    from pte_magic.linux.smaps import Mapping

NEEDED = ("vaddr", "size", "level", "entry", "state", "host", "pid")
"""The columns of entries that the sums are made of; without the others, what they say is missing."""
AT_LEAST = "shared_at_least"
"""The column of the shared bytes that are known where others are not; 0 elsewhere."""
IN_PART = "shared_in_part"
"""The column that is true where only huge pages are in doubt, of which some small ones may be shared."""
_EXCLUSIVE = "mmap_exclusive"
_NOT_COUNTED = "p4d"  # the kernel's VmPTE does not count page tables of this level, nor the pgd


class Layout(NamedTuple):
    """The regions of an address space at one moment.

    Attributes:
        regions: Ascending.
        zeros: The zero pages, where the words of pagemap do not show them: see `pagemap_scan.zeros`.

    """

    regions: Sequence[Region]
    zeros: NDArray[np.void] = np.empty(0, pagemap_scan.PAGE_REGION)


def layout(space: AddressSpace, *, raw: bool) -> Layout:
    """Return the regions of an address space as they are now; raises as `AddressSpace.regions`.

    Args:
        space: The address space.
        raw: True if the entries to sum are raw: these show zero pages by themselves.

    """
    regions = [region for region in space.regions() if region.start < hardware.user_limit()]  # not [vsyscall]
    return Layout(regions) if raw else Layout(regions, pagemap_scan.zeros(space))


def are_raw(frame: pd.DataFrame) -> bool:
    """Tell whether all entries are known as they are in the page tables."""
    return not frame["entry"].isna().any()


def sums(frame: pd.DataFrame, of: Layout) -> pd.DataFrame:
    """Return the sums that `PteFrame.regions` describes, of the entries of one process, in order of address."""
    start = np.array([region.start for region in of.regions], np.uint64)
    end = np.array([region.end for region in of.regions], np.uint64)
    maps = np.flatnonzero(_counts(frame, of.zeros))
    size = frame["size"].to_numpy(np.uint64)
    inside = _Sums(start, end, frame["vaddr"].to_numpy(np.uint64))
    bytes_of = inside.of(maps, size)
    level = np.asarray(frame["level"].cat.codes, np.int8)
    huge = inside.of(maps[size[maps] > hardware.PAGE_SIZE], size)
    unleveled = inside.of(maps[level[maps] < 0], size) > 0
    shared, is_unknown, in_part = _shared(frame, maps, inside, size)
    share = np.divide(huge, bytes_of, out=np.zeros(len(start)), where=bytes_of > 0)
    return pd.DataFrame(
        {
            "vaddr": start,
            "size": end - start,
            "region": pd.array([region.name for region in of.regions], TEXT),
            "permissions": pd.Categorical([region.permissions for region in of.regions]),
            "resident": bytes_of,
            "huge_share": _masked(share, unleveled | (bytes_of == 0)),
            "swapped": inside.of(np.flatnonzero(frame["state"] == "swap"), size),
            "shared": _masked(shared, is_unknown),
            AT_LEAST: np.where(is_unknown, shared, 0).astype(np.uint64),
            IN_PART: in_part,
            "page_tables": _page_tables(frame, start, end, level),
        }
    )


class _Sums:
    """Sums by the region in which an entry begins; an entry that maps something lies within one."""

    def __init__(self, start: NDArray[np.uint64], end: NDArray[np.uint64], vaddr: NDArray[np.uint64]) -> None:
        self._start, self._end, self._vaddr = start, end, vaddr

    def of(self, rows: NDArray[np.intp], values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the sum of the values of some rows for each region, ``uint64[regions]``."""
        at = np.searchsorted(self._end, self._vaddr[rows], side="right")
        sums = np.zeros(len(self._end) + 1, np.uint64)
        np.add.at(sums, at, values[rows])
        return sums[:-1]


def _counts(frame: pd.DataFrame, zeros: NDArray[np.void]) -> NDArray[np.bool_]:
    """Tell which entries the kernel counts as resident."""
    special = frame["special"].to_numpy(np.bool_, na_value=False) if "special" in frame.columns else None
    maps = resident(np.asarray(frame["state"].cat.codes, np.int8), special)
    hidden = frame["entry"].isna().to_numpy(np.bool_)
    if hidden.any():
        maps &= ~(hidden & is_zero(frame["vaddr"].to_numpy(np.uint64), zeros))
    if {"rw", "pfn"} <= set(frame.columns):
        at = np.flatnonzero(maps & ~hidden)
        rw, pfn = (frame[name].iloc[at] for name in ("rw", "pfn"))
        known = pfn.notna().to_numpy(np.bool_)
        at = at[known]
        maps[at] = ~is_huge_zero(
            frame["size"].to_numpy(np.uint64)[at],
            rw.to_numpy(np.bool_, na_value=False)[known],
            pfn.to_numpy(np.uint64, na_value=0)[known],
        )
    return maps


def _shared(
    frame: pd.DataFrame, maps: NDArray[np.intp], inside: _Sums, size: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the shared bytes that are known, whether there may be more, and whether only huge pages are in doubt."""
    if _EXCLUSIVE not in frame.columns:
        nothing = inside.of(maps[:0], size)
        return nothing, nothing == 0, nothing != 0
    exclusive: Any = frame[_EXCLUSIVE].array[maps]
    missing, is_huge = exclusive.isna(), size[maps] > hardware.PAGE_SIZE
    if frame.attrs.get(PARTLY) is True:  # of a huge page, the bit is that of its first small one
        missing |= ~exclusive.to_numpy(np.bool_, na_value=True) & is_huge
    shared = inside.of(maps[~missing & ~exclusive.to_numpy(np.bool_, na_value=True)], size)
    is_unknown = inside.of(maps[missing], size) > 0
    return shared, is_unknown, is_unknown & (inside.of(maps[missing & ~is_huge], size) == 0)


def with_smaps(part: pd.DataFrame, mappings: Sequence[Mapping]) -> pd.DataFrame:
    """Return sums with what smaps says is shared, where that is in doubt for huge pages only.

    It counts each small page of a huge one. A region counts if all that is resident in it is in the sums, too.

    Args:
        part: The sums of one process.
        mappings: The lines of its smaps.

    """
    known = {one.region.start: one for one in mappings}
    shared, at_least = part["shared"].copy(), part[AT_LEAST].copy()
    for at in np.flatnonzero(part[IN_PART]).tolist():
        one = known.get(int(part["vaddr"].iloc[at]))
        if one is not None and one.shared + one.private == int(part["resident"].iloc[at]):
            shared.iloc[at], at_least.iloc[at] = one.shared, 0
    return part.assign(**{"shared": shared, AT_LEAST: at_least})


def _page_tables(
    frame: pd.DataFrame, start: NDArray[np.uint64], end: NDArray[np.uint64], level: NDArray[np.int8]
) -> Any:
    """Return the bytes of page tables; each table counts for the first region that has addresses below it.

    An entry is in a page table, and all tables on the way to it are there, too: so the rows of a walk tell of every
    table, without the rows of the entries that point to them.
    """
    found = np.zeros(len(end), np.uint64)
    if not are_raw(frame) or (level < 0).any():
        return _masked(found, np.ones(len(found), np.bool_))
    vaddr = frame["vaddr"].to_numpy(np.uint64)
    for code, span in _tables():
        first = np.unique(vaddr[level >= code] >> np.uint64(span)) << np.uint64(span)
        at = np.searchsorted(end, first, side="right")
        there = at < len(end)
        there[there] = start[at[there]] < first[there] + np.uint64(1 << span)
        found += np.bincount(at[there], minlength=len(found)).astype(np.uint64) * np.uint64(hardware.PAGE_SIZE)
    return _masked(found, np.zeros(len(found), np.bool_))


def _tables() -> Iterator[tuple[int, int]]:
    """Yield the level of each kind of counted page table, and the address bits below an entry that points to one."""
    shifts = hardware.shifts()
    for above, level in zip(shifts, list(shifts)[1:], strict=False):
        if level != _NOT_COUNTED:
            yield LEVELS.index(level), shifts[above]


def _masked(values: NDArray[Any], missing: NDArray[np.bool_]) -> Any:
    make = pd.arrays.FloatingArray if values.dtype.kind == "f" else pd.arrays.IntegerArray
    return make(values, missing)
