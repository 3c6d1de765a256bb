"""The geometry of page tables: how each format cuts an address into indices. Data; the host is not asked."""

from __future__ import annotations

from typing import NamedTuple

LEVELS = ("pgd", "p4d", "pud", "pmd", "pte")
"""Names of all levels, top down; a level's number is its index here, and -1 where it is not known.

With fewer levels, some are missing (folded), in the kernel's order: first p4d, then pud, then pmd.
"""


class Geometry(NamedTuple):
    """The geometry of page tables in one format.

    Attributes:
        page_shift: The number of bits of the offset in the smallest page.
        index_bits: The number of bits of an index; the topmost page table may be smaller.
        levels: The usual number of levels, where it is not known.
        most: The most levels.
        address_bits: The possible numbers of bits of an address.

    """

    page_shift: int
    index_bits: int
    levels: int
    most: int
    address_bits: int


GEOMETRIES = {
    "x86_64": Geometry(12, 9, 4, 5, 57),
    "x86_32": Geometry(12, 10, 2, 2, 32),
    "x86_pae": Geometry(12, 9, 3, 3, 32),
    "arm64_4k": Geometry(12, 9, 4, 4, 48),
    "arm64_4k_lpa2": Geometry(12, 9, 5, 5, 52),
    "arm64_16k": Geometry(14, 11, 4, 4, 48),
    "arm64_16k_lpa2": Geometry(14, 11, 4, 4, 52),
    "arm64_64k": Geometry(16, 13, 3, 3, 52),
}
"""By name of the format: Intel SDM 3A, 4.3 to 4.5; Arm ARM (DDI 0487), D8.2."""


def names(levels: int) -> tuple[str, ...]:
    """Return the names of so many levels, top down: ``("pgd", "pmd", "pte")`` for 3."""
    return LEVELS[:1] + LEVELS[len(LEVELS) - levels + 1 :]


def shifts(encoding: str, levels: int | None = None) -> dict[str, int]:
    """Return the number of address bits below the index of each level, top down.

    Args:
        encoding: Name of the format.
        levels: The number of levels; the usual number if None.

    """
    geometry = GEOMETRIES[encoding]
    found = names(levels or geometry.levels)
    return {
        name: geometry.page_shift + geometry.index_bits * (len(found) - 1 - place) for place, name in enumerate(found)
    }


def levels(encoding: str, size: int) -> int:
    """Return the number of levels if an entry of the topmost one covers `size` bytes."""
    geometry = GEOMETRIES[encoding]
    return 1 + (size.bit_length() - 1 - geometry.page_shift) // geometry.index_bits
