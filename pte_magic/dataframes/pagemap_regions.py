"""The facts about pages that regions tell, where pagemap does not: what is mapped, and if all or nothing is shared."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.errors import AccessDeniedError, NoSuchProcessError
from pte_magic.linux import mapped_files
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.regions import Region

    Bools = NDArray[np.bool_]

_SHARED, _PRIVATE, _START = attrgetter("shared"), attrgetter("private"), attrgetter("start")


def in_anonymous(space: AddressSpace, vaddr: NDArray[np.uint64]) -> Bools:
    """Tell which addresses are in regions of anonymous memory only, ``bool[m]``."""
    ascend = _ascend(vaddr)
    found = _regions(space, vaddr, ascend=ascend)
    return _within([region for region in found if region.is_anonymous], vaddr, ascend=ascend)


def sharing(space: AddressSpace, vaddr: NDArray[np.uint64]) -> tuple[Bools, Bools]:
    """Tell which addresses are in regions of which smaps says that no page is mapped elsewhere, or that all are.

    It counts the mappings of each page of a huge one (``smaps_account()``, fs/proc/task_mmu.c); those of hugetlb are
    mapped as a whole.

    Returns:
        ``bool[m]`` each; both are false where a region has pages of both kinds, or nobody knows.

    """
    try:
        found = space.mappings(int(vaddr.min()), int(vaddr.max()) + 1)
    except (NoSuchProcessError, AccessDeniedError):
        found = []
    none, every = ([one.region for one in found if not bytes_(one)] for bytes_ in (_SHARED, _PRIVATE))
    every += [one.region for one in found if one.bytes.get("KernelPageSize", 0) > PAGE_SIZE]
    ascend = _ascend(vaddr)
    return _within(none, vaddr, ascend=ascend), _within(sorted(every, key=_START), vaddr, ascend=ascend)


def mapped(space: AddressSpace, vaddr: NDArray[np.uint64], huge: Bools) -> str | None:
    """Return the kind of what is mapped at addresses, in words of `mapped_files`; None if that is not one, or unknown.

    Args:
        space: The address space.
        vaddr: Addresses of pages, ``uint64[m]``.
        huge: Which of them are huge, ``bool[m]``.

    """
    regions = _regions(space, vaddr, ascend=_ascend(vaddr))
    at = np.searchsorted(np.array([region.end for region in regions], np.uint64), vaddr, side="right")
    touched, large = set(at.tolist()) - {len(regions)}, set(at[huge].tolist())
    if not all(regions[one].file[1] for one in touched):
        return None
    try:
        mounts = mapped_files.kinds_of_mounts(space.file("mountinfo"))
    except (NoSuchProcessError, AccessDeniedError):
        return None
    found = {mapped_files.kind(regions[one], mounts, huge=one in large) for one in touched}
    return found.pop() if len(found) == 1 else None


def _regions(space: AddressSpace, vaddr: NDArray[np.uint64], *, ascend: bool) -> list[Region]:
    """Return the regions that addresses may be in."""
    if not len(vaddr):
        return []
    first, last = (vaddr[0], vaddr[-1]) if ascend else (vaddr.min(), vaddr.max())
    try:
        return space.regions(int(first), int(last) + 1)
    except (NoSuchProcessError, AccessDeniedError):
        return []


def _within(regions: Sequence[Region], vaddr: NDArray[np.uint64], *, ascend: bool) -> Bools:
    starts, ends = (np.array([getattr(region, side) for region in regions], np.uint64) for side in ("start", "end"))
    if ascend:  # nearly always; then there are far fewer regions to look for
        within = np.zeros(len(vaddr), np.bool_)
        for first, last in np.searchsorted(vaddr, np.stack((starts, ends), axis=-1)).tolist():
            within[first:last] = True
        return within
    at = np.searchsorted(ends, vaddr, side="right")
    found: Any = np.append(starts, ~np.uint64(0))[at] <= vaddr
    return np.asarray(found, np.bool_)


def _ascend(vaddr: NDArray[np.uint64]) -> bool:
    return bool((vaddr[1:] >= vaddr[:-1]).all())
