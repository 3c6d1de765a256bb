"""`Facts`: what is known of a target before the checks: its regions, its entries, and the kernel's settings."""

from __future__ import annotations

import bisect
import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.api import pte_frame, walk
from pte_magic.dataframes import huge_places
from pte_magic.formats import kernel
from pte_magic.linux import mounts, sizes, transparent_hugepages
from pte_magic.linux.hardware import user_limit
from pte_magic.linux.own_pid import own_pid
from pte_magic.targets import target as targets
from pte_magic.targets.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pte_magic.dataframes.huge_places import Area, Measured
    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.mounts import Mount
    from pte_magic.linux.smaps import Mapping
    from pte_magic.linux.transparent_hugepages import Settings

ANONYMOUS, SHMEM, FILE, HUGETLB, SPECIAL = ("anonymous", "shmem", "file", "hugetlb", "special")
"""Kinds of regions, with rules of their own: ``__thp_vma_allowable_orders()``, mm/huge_memory.c."""
_NEVER_HUGE = {"io", "pf", "mm", "de"}
"""Flags of regions of the kernel's or of a device: VM_SPECIAL, include/linux/mm.h."""


class Part(NamedTuple):
    """A region of the target: what smaps says of it, its kind, and the mount of its file."""

    mapping: Mapping
    kind: str
    mount: Mount | None


class Facts(NamedTuple):
    """All that the checks are made of.

    Attributes:
        space: The address space.
        value: The object that was named; None if it was an address or a region.
        again: Words to type, to have the kernel make huge pages at once.
        ranges: The target, as far as something is mapped there.
        parts: Its regions.
        measured: The contents of its entries.
        settings: The kernel's; None without transparent huge pages.

    """

    space: AddressSpace
    value: object
    again: str
    ranges: tuple[tuple[int, int], ...]
    parts: tuple[Part, ...]
    measured: Measured
    settings: Settings | None

    @property
    def is_own(self) -> bool:
        """True if it is this process that is asked about."""
        return self.space.pid == own_pid()

    @property
    def huge(self) -> int:
        """Bytes of a huge page."""
        return self.settings.huge if self.settings else sizes.huge()

    @property
    def total(self) -> int:
        """Bytes of the target."""
        return sum(end - start for start, end in self.ranges)

    @property
    def rest(self) -> int:
        """Bytes of the target that are not on huge pages."""
        return self.total - self.measured.bytes.huge

    def of(self, wanted: Callable[[Part], Any]) -> int:
        """Return the bytes of the target in places of some regions that are not on huge pages."""
        left = self.measured.in_places - self.measured.huge
        return int(sum(max(bytes_, 0) for bytes_, part in zip(left.tolist(), self.parts, strict=True) if wanted(part)))

    def first(self, wanted: Callable[[Part], Any]) -> tuple[int, int]:
        """Return the first and the last address of the target in one of some regions, that with most to gain."""
        left = (self.measured.in_places - self.measured.huge).tolist()
        some = [(left_, part.mapping.region) for left_, part in zip(left, self.parts, strict=True) if wanted(part)]
        region = max(some, key=lambda pair: pair[0])[1]
        inside = [(max(start, region.start), min(end, region.end)) for start, end in self.ranges]
        inside = [(start, end) for start, end in inside if start < end]
        return inside[0][0], inside[-1][1]


def gather(meant: Target, space: AddressSpace, *, value: object, again: str, walker: str) -> Facts:
    """Return the facts about a target.

    Raises:
        PteMagicError: The process has gone, or there is no such walker.

    """
    settings = transparent_hugepages.settings()
    huge = settings.huge if settings else sizes.huge()
    mapped = space.mappings(meant.ranges[0][0], min(meant.ranges[-1][1], user_limit())) if meant.ranges else []
    here = mounts.of_mountinfo(space.file("mountinfo"))
    inside = [(mapping, found) for mapping in mapped if (found := _within(meant.ranges, mapping))]
    parts = tuple(_part(mapping, here) for mapping, _ in inside)
    by_area = [(_area(part, huge), found) for part, (_, found) in zip(parts, inside, strict=True)]
    measured = _measured(by_area, huge, space, walker) if parts else huge_places.nothing()
    ranges = tuple(range_ for _, found in inside for range_ in found)
    if measured.bytes.unsure:
        measured = _with_smaps(measured, parts)
    return Facts(space, value, again, ranges, parts, measured, settings)


def _within(ranges: Sequence[tuple[int, int]], mapping: Mapping) -> list[tuple[int, int]]:
    region, found = mapping.region, []
    for at in range(bisect.bisect_right(ranges, region.start, key=operator.itemgetter(1)), len(ranges)):
        start, end = ranges[at]
        if start >= region.end:
            break
        found.append((max(start, region.start), min(end, region.end)))
    return found


def _part(mapping: Mapping, here: list[Mount]) -> Part:
    region = mapping.region
    if "ht" in mapping.flags:
        return Part(mapping, HUGETLB, None)
    if mapping.flags & _NEVER_HUGE:
        return Part(mapping, SPECIAL, None)
    if not region.file[1]:
        return Part(mapping, ANONYMOUS if region.is_anonymous else SPECIAL, None)
    if mapping.is_internal:
        return Part(mapping, SHMEM, None)
    mount = mounts.of_file(here, region.file[0], region.path)
    return Part(mapping, SHMEM if mount and mount.kind == b"tmpfs" else FILE, mount)


def _area(part: Part, huge: int) -> Area:
    region = part.mapping.region
    of_file = part.kind in {SHMEM, FILE}
    return huge_places.Area(region.start, region.end, (region.start - part.mapping.offset) % huge if of_file else 0)


def _measured(
    by_area: list[tuple[Area, list[tuple[int, int]]]], huge: int, space: AddressSpace, walker: str
) -> Measured:
    wide = []
    for area, ranges in by_area:
        for start, end in ranges:
            low, high = start - (start - area.offset) % huge, end + (area.offset - end) % huge
            wide.append(Target(((max(area.start, low), min(area.end, high)),)))
    meant = targets.together([("", one) for one in wide])
    found = walk.read(meant, space, walker, tables=False)
    frame = pte_frame.build(found, kernel.running(found.address_bits), pid=space.pid, space=space)
    every = [range_ for _, ranges in by_area for range_ in ranges]
    return huge_places.measure(frame, [area for area, _ in by_area], every, huge)


def _with_smaps(measured: Measured, parts: tuple[Part, ...]) -> Measured:
    """Return the same where huge pages cannot be told from small ones: by the kernel's sums of whole regions.

    Where these say that some are huge, it is not known which.
    """
    names = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")
    of_region = [sum(part.mapping.bytes.get(name, 0) for name in names) for part in parts]
    if not any(of_region):
        return measured._replace(bytes=measured.bytes._replace(unsure=False))
    huge = np.minimum(of_region, measured.in_places)
    large = min(int(huge.sum()), measured.bytes.small)
    unsure = large < measured.bytes.small
    return measured._replace(
        bytes=measured.bytes._replace(huge=large, small=measured.bytes.small - large, unsure=unsure),
        huge=huge,
        places=measured.places.of(measured.places.bytes < 0),
    )
