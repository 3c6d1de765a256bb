"""`Shape` and `Field`: the parts of which the tables of bit fields consist."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Shape(enum.IntEnum):
    """The layout of an entry's bits. The same bit means different things in different shapes."""

    EMPTY = 0
    """All bits zero: nothing is mapped."""
    TABLE = 1
    """Points to the page table of the next level."""
    PAGE = 2
    """Maps one page of the smallest size."""
    HUGE = 3
    """A leaf above the last level: maps a huge page."""
    PROTNONE = 4
    """A page that is in memory, but no access is allowed (PROT_NONE, NUMA hinting)."""
    PROTNONE_HUGE = 5
    """The same, of a huge page."""
    INVALID_HUGE = 6
    """A huge page that is being split or changed just now (``pmd_mkinvalid()``)."""
    SWAP = 7
    """Not present: a swap entry, or one of the kernel's special entries in the same layout."""
    ROOT = 8
    """Points to the page table of the next level, and has no permission bits (PAE's PDPTE)."""
    NOT_PRESENT = 9
    """Not present, with bits that are 0 in every swap entry: Linux never makes such an entry for a process.

    A page of the kernel's own that was made not present looks like that: its bits stay (``set_memory_np()``,
    debug_pagealloc, KFENCE).
    """


SMALL = frozenset({Shape.PAGE, Shape.PROTNONE})
"""Shapes that name the page frame of a page of the smallest size."""
BIG = frozenset({Shape.HUGE, Shape.PROTNONE_HUGE, Shape.INVALID_HUGE})
"""Shapes that name the first page frame of a huge page."""
LEAVES = SMALL | BIG
"""Shapes that name the page frame of a page of memory."""
TABLES = frozenset({Shape.TABLE, Shape.ROOT})
"""Shapes that name the page frame of a page table."""
HARD = frozenset({Shape.PAGE, Shape.HUGE})
"""Leaves through which the hardware translates."""

STATES = ("none", "table", "present", "protnone", "swap", "migration", "device", "hwpoison", "marker")
"""Categories of the ``state`` column."""

KINDS = (
    "splitting",
    "migration_read",
    "migration_read_exclusive",
    "migration_write",
    "device_write",
    "device_read",
    "device_exclusive",
    "device_exclusive_write",
    "device_exclusive_read",
    "uffd_wp",
    "poisoned",
    "swapin_error",
    "guard",
    "not_present",
    "shadow_stack",
    "zero_page",
)
"""Categories of the ``kind`` column: the kind of a special entry, in the kernel's words.

The last three are not special entries: ``shadow_stack`` is a page that only calls and returns write to, and
``zero_page`` the kernel's page of zeros, which is mapped until somebody writes.
"""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an entry.

    Attributes:
        name: The kernel's name, in lower case.
        low: Number of its lowest bit.
        width: The number of its bits.
        shapes: The entries that have it.
        meaning: The meaning of its value; of a single bit, the meaning of 1.
        source: The text that defines it.
        by: Its reader: ``"cpu"``, or ``"linux"`` for a bit that the hardware leaves to the system.
        column: The column of a frame that it fills, if any: a boolean one, or ``pkey``.
        needs: The feature of the kernel without which the bit has no such meaning, if any.
        address: For bits of a page frame number, the bit of the physical address for the lowest; else None.
        unless: The feature of the kernel with which the bit has another meaning, if any.
        zero: The meaning of 0, of a single bit.

    """

    name: str
    low: int
    width: int
    shapes: frozenset[Shape]
    meaning: str
    source: str
    by: str = "cpu"
    column: str | None = None
    needs: str | None = None
    address: int | None = None
    unless: str | None = None
    zero: str = ""

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.width) - 1) << self.low

    def value(self, entry: int) -> int:
        """Return what the field holds in `entry`."""
        return (entry & self.mask) >> self.low

    def meant(self, entry: int) -> str:
        """Return what the field says in `entry`: of a single bit, the meaning of its value."""
        return self.zero if self.width == 1 and not entry & self.mask else self.meaning
