"""All memory of a process by its use: stacks, files, malloc, Python's arenas; the rest is what no variable has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.linux import malloc, thread_stacks
from pte_magic.targets import small_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pte_magic.api.variables.pages import Pages
    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.malloc import MallocInfo
    from pte_magic.linux.regions import Region
    from pte_magic.targets.disjoint import Disjoint

SMALL, SMALL_FREE = "Python's small objects", "free in Python's arenas"
MALLOC, MALLOC_FREE = "malloc, in use", "malloc, free but resident"
_MAIN, _STACKS = "stack of the main thread", "stacks of threads"
_LIBRARIES, _FILES, _DELETED, _SHARED = "libraries", "files", "files without a name", "shared memory"
_KERNEL, _UNKNOWN = "of the kernel", "not known to Python"
_TRIM = "pte_magic.trim()"
_SAYS = {
    SMALL: "of modules and libraries",
    SMALL_FREE: "for the next ones",
    MALLOC: "of libraries and modules",
    _DELETED: "deleted, or memfds",
    _UNKNOWN: "of libraries in C",
}


class Owner(NamedTuple):
    """A part of the rest.

    Attributes:
        type: Its name.
        says: More about it.
        bytes: How large it is.
        sums: Its bytes in each of `pages.STATES`.

    """

    type: str
    says: str
    bytes: int
    sums: dict[str, int]


class Areas:
    """Ranges of addresses by their use, ascending, which together are all regions.

    Attributes:
        start: First addresses, ``uint64[n]``.
        end: First addresses after them, ``uint64[n]``.
        uses: The names of their uses.
        used: Bytes in use of each pool of small objects.

    """

    def __init__(
        self, space: AddressSpace, regions: Sequence[Region], found: Disjoint, pages: Pages, *, own: bool
    ) -> None:
        """Find them.

        Args:
            space: The address space.
            regions: Its regions.
            found: The memory of variables.
            pages: The pages.
            own: True for this process: only in it are stacks and pools known.

        """
        stacks = thread_stacks.addresses() if own else []
        uses = [_use(at, regions, stacks, space) for at in range(len(regions))]
        self.used = np.empty(0, np.uint64)
        arenas: list[tuple[int, int]] = []
        if own:
            places = _places(regions, uses, found, pages)
            pools = small_objects.pools(places)
            self.used = pools.used
            arenas = [(int(start), int(end)) for start, end in zip(*small_objects.arenas(pools), strict=True)]
        cut = [piece for region, use in zip(regions, uses, strict=True) for piece in _cut(region, use, arenas)]
        self.start, self.end = (np.array([piece[at] for piece in cut], np.uint64) for at in (0, 1))
        use = [piece[2] for piece in cut]
        self.uses = list(dict.fromkeys(use))
        self._code = np.array([self.uses.index(one) for one in use], np.intp)

    def split(self, found: Disjoint) -> Disjoint:
        """Cut ranges where an area ends, so that each is in one area."""
        edges = np.unique(np.concatenate([self.start, self.end]))
        first, last = np.searchsorted(edges, found.start, side="right"), np.searchsorted(edges, found.end, side="left")
        count = (last - first + 1).astype(np.intp)
        if (count == 1).all():
            return found
        of = np.repeat(np.arange(len(count)), count)
        within = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
        at = first[of] + within
        start = np.where(within == 0, found.start[of], edges[np.maximum(at - 1, 0)])
        end = np.where(within == count[of] - 1, found.end[of], edges[np.minimum(at, len(edges) - 1)])
        return type(found)(start, end, found.owner[of], found.state[of])

    def of(self, addresses: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the use of the memory at each address, by its place in `uses`, ``intp[n]``; -1 after all areas."""
        at = np.searchsorted(self.end, addresses, side="right")
        return np.append(self._code, -1)[at]

    def rest(self, pages: Pages, owned: dict[str, NDArray[np.uint64]], info: MallocInfo | None) -> list[Owner]:
        """Return what variables do not have, by its use.

        Args:
            pages: The pages.
            owned: Of each use the bytes, and the bytes in each of `pages.STATES`, that variables have.
            info: The words of malloc; None if that is not known.

        """
        whole = pages.sums(self.start, self.end) | {"bytes": self.end - self.start}
        all_ = {
            name: np.bincount(self._code, values.astype(np.float64), len(self.uses)).astype(np.int64)
            for name, values in whole.items()
        }
        made: list[Owner] = []
        for use, name in enumerate(self.uses):
            left = {state: max(0, int(all_[state][use]) - int(owned[state][use])) for state in all_}
            owner = Owner(name, _SAYS.get(name, ""), left.pop("bytes"), left)
            if name == MALLOC and info is not None:
                free = min(max(0, int(all_["resident"][use]) - info.used), info.free, left["resident"])
                made += _parted(owner, left["resident"] - free, MALLOC_FREE, _TRIM)
            elif name == SMALL:
                used = max(0, int(self.used.sum()) - int(owned["resident"][use]))
                made += _parted(owner, min(used, left["resident"]), SMALL_FREE, _SAYS[SMALL_FREE])
            else:
                made.append(owner)
        return [one for one in made if one.bytes or any(one.sums.values())]


def _parted(owner: Owner, resident: int, name: str, says: str) -> Iterator[Owner]:
    """Yield the first bytes that are resident, and the others under another name."""
    share = {state: min(bytes_, resident) for state, bytes_ in owner.sums.items()}
    others = {state: bytes_ - share[state] for state, bytes_ in owner.sums.items()}
    yield owner._replace(bytes=owner.bytes - others["resident"], sums=share)
    yield Owner(name, says, others["resident"], others)


def _use(at: int, regions: Sequence[Region], stacks: list[int], space: AddressSpace) -> str:  # noqa: PLR0911  (a table)
    region = regions[at]
    if region.path.startswith(b"/"):
        if region.path.startswith((b"/dev/shm/", b"/SYSV")):
            return _SHARED
        if space.is_deleted(region):
            return _DELETED
        return _LIBRARIES if _is_code(at, regions) else _FILES
    if region.path == b"[heap]" or malloc.is_arena(at, regions):
        return MALLOC
    if region.path == b"[stack]":
        return _MAIN
    if not region.is_anonymous:
        return _KERNEL
    return _STACKS if any(region.start <= one < region.end for one in stacks) else _UNKNOWN


def _is_code(at: int, regions: Sequence[Region]) -> bool:
    """Tell whether the file of a region is a program: some region of it can be executed."""
    path = regions[at].path
    near = regions[max(0, at - 8) : at + 8]
    return any(one.path == path and "x" in one.permissions for one in near)


def _places(regions: Sequence[Region], uses: list[str], found: Disjoint, pages: Pages) -> Iterator[NDArray[np.uint64]]:
    """Yield where pools of small objects can be: in resident anonymous memory, and not within a variable's."""
    pool = small_objects.POOL
    for region, use in zip(regions, uses, strict=True):
        if use != _UNKNOWN or region.permissions != "rw-p":
            continue
        at = np.arange(-(-region.start // pool) * pool, region.end - pool + 1, pool, dtype=np.uint64)
        before = np.searchsorted(found.start, at, side="right") - 1
        free = before < 0
        free[~free] = found.end[before[~free]] <= at[~free]
        at = at[free]
        yield at[pages.sums(at, at + np.uint64(1))["resident"] > 0]


def _cut(region: Region, use: str, arenas: list[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    """Yield the parts of a region, with arenas of small objects in it."""
    at = region.start
    for start, end in arenas if use == _UNKNOWN else ():
        first, last = max(at, start), min(region.end, end)
        if first >= last:
            continue
        if at < first:
            yield at, first, use
        yield first, last, SMALL
        at = last
    if at < region.end:
        yield at, region.end, use
