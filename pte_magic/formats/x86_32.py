"""Page-table entries of 32-bit x86, with and without PAE, as tables of bit fields.

Most bits are those of x86-64. Sources: the Intel SDM, volume 3A, sections 4.3 ("32-bit paging") and 4.4 ("PAE paging"),
and arch/x86/include/asm/pgtable-2level.h, pgtable-3level.h and pgtable_types.h of Linux 6.1 to 7.2. Linux has no
bits here for protection keys, soft-dirty, and write-protection by userfaultfd. Without PAE, entries have 32 bits, and
no bit that forbids execution.
"""

from __future__ import annotations

from dataclasses import replace

from pte_magic.formats.field import BIG, LEAVES, SMALL, TABLES, Field, Shape
from pte_magic.formats.format import Format, Rule
from pte_magic.formats.x86_64 import (
    ACCESSED,
    DIRTY,
    INVERTED,
    MAPPED,
    NOT_EXCLUSIVE,
    PAT,
    PAT_FIELDS,
    PRESENT,
    SWAP64,
    TYPES,
)
from pte_magic.formats.x86_64 import FIELDS as FIELDS64

SDM32, SDM_PAE = "Intel SDM 3A, 4.3", "Intel SDM 3A, 4.4"
LEVELS2, LEVELS3 = "arch/x86/include/asm/pgtable-2level.h", "arch/x86/include/asm/pgtable-3level.h"

_TABLE, _ROOT, _SWAP = (frozenset({shape}) for shape in (Shape.TABLE, Shape.ROOT, Shape.SWAP))
_NOT_HERE = {"pfn", "soft_dirty", "uffd_wp", "uffd", "swp_exclusive", "encrypted", "offset"}
_PAT_LARGE = 12  # the highest bit that all of x86 have
_COMMON = (
    *(field for field in FIELDS64 if field.low <= _PAT_LARGE and field.name not in _NOT_HERE),
    Field(
        "saved_dirty",
        10,
        1,
        LEAVES,
        "dirty, kept here while read-only",
        TYPES,
        "linux",
        "saved_dirty",
        "saved_dirty",
        zero="no dirty bit is kept here",
    ),
)
_COLUMNS = ("present", "rw", "user", "accessed", "dirty", "global", "special", "nx", "saved_dirty", "swp_exclusive")
_EXCLUSIVE = "the anonymous page belongs to this process alone (since 6.3)"


def _swp_exclusive(source: str) -> Field:
    return Field(
        "swp_exclusive", 7, 1, _SWAP, _EXCLUSIVE, source, "linux", "swp_exclusive", "swp_exclusive", zero=NOT_EXCLUSIVE
    )


X86_32 = Format(
    "x86_32",
    (
        *(replace(field, source=SDM32) if field.by == "cpu" else field for field in _COMMON),
        Field("pfn", 12, 20, SMALL | _TABLE, "page frame number: physical address / 4096", SDM32, address=12),
        Field("pfn", 13, 19, BIG, "page frame number / 2; low bits are zero for a huge page", SDM32, address=13),
        Field("type", 1, 5, _SWAP, "which swap device, or which special entry", LEVELS2, "linux"),
        _swp_exclusive(LEVELS2),
        Field("offset", 9, 23, _SWAP, "where on the swap device", LEVELS2, "linux"),
    ),
    (*MAPPED, Rule("any", DIRTY, DIRTY, Shape.NOT_PRESENT), Rule("any", 0, 0, Shape.SWAP)),
    tuple(name for name in _COLUMNS if name != "nx"),
    PAT,
    PAT_FIELDS,
    ((None, 32),),  # arch/x86/include/asm/sparsemem.h
    bits=32,
)
"""Without PAE: 10 + 10 + 12 bits. Nothing is inverted; swap entries have bit 6 clear (asm/pgtable-2level.h)."""

X86_PAE = Format(
    "x86_pae",
    (
        *(
            replace(field, source=SDM_PAE) if field.by == "cpu" else field
            for field in _COMMON
            if field.name != "present"
        ),
        *(replace(field, source=SDM_PAE) for field in FIELDS64 if field.name in {"present", "nx"}),
        Field(
            "pwt",
            3,
            1,
            _ROOT,
            "page-level write-through of the page table",
            SDM_PAE,
            zero="no page-level write-through of the page table",
        ),
        Field(
            "pcd",
            4,
            1,
            _ROOT,
            "page-level cache disable of the page table",
            SDM_PAE,
            zero="no page-level cache disable of the page table",
        ),
        Field("pfn", 12, 40, SMALL | TABLES, "page frame number: physical address / 4096", SDM_PAE, address=12),
        Field("pfn", 13, 39, BIG, "page frame number / 2; low bits are zero for a huge page", SDM_PAE, address=13),
        _swp_exclusive(LEVELS3),
        *(replace(field, source=LEVELS3) for field in FIELDS64 if field.source == SWAP64 and field.width > 1),
    ),
    (
        Rule("top", PRESENT, PRESENT, Shape.ROOT),
        *MAPPED,
        *(Rule("any", bit, bit, Shape.NOT_PRESENT) for bit in (ACCESSED, DIRTY)),
        Rule("any", 0, 0, Shape.SWAP),
    ),
    _COLUMNS,
    PAT,
    PAT_FIELDS,
    (("sparsemem", 36), (None, 38)),  # without SPARSEMEM, as many as an offset has: 26 bits of a page frame
    inverted=INVERTED,
    swap_inverted=True,
)
"""With PAE: 2 + 9 + 9 + 12 bits. The kernel's own swp_entry_t has 27 bits for the offset; the others are 0.

Swap entries have bits 1 to 6 clear (asm/pgtable-3level.h); the kernel's pages have 5 and 6 set.
"""
