"""Page-table entries of x86-64, as one table of bit fields.

Sources: the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A, section 4.5 ("4-level paging and
5-level paging"), and arch/x86/include/asm/pgtable_types.h and pgtable_64.h of Linux 6.1 to 6.19.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from pte_magic.formats.field import LEAVES, Field, Shape

if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel

SDM = "Intel SDM 3A, 4.5"
TYPES = "arch/x86/include/asm/pgtable_types.h"
SWAP64 = "arch/x86/include/asm/pgtable_64.h"

_SMALL = frozenset({Shape.PAGE, Shape.PROTNONE})
_BIG = LEAVES - _SMALL
_TABLE = frozenset({Shape.TABLE})
_SWAP = frozenset({Shape.SWAP})
_HARD = frozenset({Shape.PAGE, Shape.HUGE})
_ANY = frozenset(Shape)

FIELDS = (
    Field("present", 0, 1, _ANY, "the CPU translates through this entry", SDM, column="present"),
    Field("rw", 1, 1, LEAVES | _TABLE, "writes are allowed", SDM, column="rw"),
    Field("user", 2, 1, LEAVES | _TABLE, "user mode may use it", SDM, column="user"),
    Field("pwt", 3, 1, LEAVES | _TABLE, "page-level write-through: bit 0 of the PAT index", SDM),
    Field("pcd", 4, 1, LEAVES | _TABLE, "page-level cache disable: bit 1 of the PAT index", SDM),
    Field("accessed", 5, 1, LEAVES | _TABLE, "the CPU has used it", SDM, column="accessed"),
    Field("dirty", 6, 1, LEAVES, "the CPU has written through it", SDM, column="dirty"),
    Field("pat", 7, 1, _SMALL, "bit 2 of the PAT index", SDM),
    Field("pse", 7, 1, _BIG | _TABLE, "page size: a leaf here, not a table", SDM),
    Field("global", 8, 1, _HARD, "stays in the TLB when the address space changes", SDM, column="global"),
    Field(
        "protnone", 8, 1, LEAVES - _HARD, "in memory, but no access allowed (PROT_NONE or NUMA hinting)", TYPES, "linux"
    ),
    Field(
        "special",
        9,
        1,
        LEAVES,
        "no struct page to count: zero page, device (kernel mappings: CPA_TEST)",
        TYPES,
        "linux",
        "special",
    ),
    Field("uffd_wp", 10, 1, LEAVES, "write-protected by userfaultfd", TYPES, "linux", "uffd_wp"),
    Field(
        "soft_dirty",
        11,
        1,
        LEAVES,
        "written since clear_refs was last reset (kernel mappings: KERNEL_4K)",
        TYPES,
        "linux",
        "soft_dirty",
        "soft_dirty",
    ),
    Field("pat_large", 12, 1, _BIG, "bit 2 of the PAT index, in a huge leaf", SDM),
    Field("pfn", 12, 40, _SMALL | _TABLE, "page frame number: physical address / 4096", SDM),
    Field("pfn", 13, 39, _BIG, "page frame number / 2; low bits of a huge frame are zero", SDM),
    Field(
        "encrypted",
        0,
        1,
        LEAVES | _TABLE,
        "memory encryption (the C-bit)",
        "AMD APM 2, 7.10",
        "cpu",
        "encrypted",
        "encryption",
    ),
    Field("devmap", 57, 1, LEAVES, "memory of a device (DAX)", TYPES, "linux", "devmap", "devmap57"),
    Field("devmap", 58, 1, LEAVES, "memory of a device (DAX)", TYPES, "linux", "devmap", "devmap58"),
    Field(
        "saved_dirty",
        58,
        1,
        LEAVES,
        "dirty, kept here while read-only (shadow stacks)",
        TYPES,
        "linux",
        "saved_dirty",
        "saved_dirty",
    ),
    Field("noptishadow", 58, 1, _TABLE, "pgd entry without a copy for user mode (since 6.13)", TYPES, "linux"),
    Field("pkey", 59, 4, LEAVES, "protection key", SDM),
    Field("nx", 63, 1, LEAVES | _TABLE, "no instruction fetch", SDM, column="nx"),
    Field(
        "soft_dirty",
        1,
        1,
        _SWAP,
        "written since clear_refs was last reset",
        SWAP64,
        "linux",
        "soft_dirty",
        "soft_dirty",
    ),
    Field("uffd_wp", 2, 1, _SWAP, "write-protected by userfaultfd", SWAP64, "linux", "uffd_wp"),
    Field(
        "swp_exclusive",
        3,
        1,
        _SWAP,
        "the anonymous page belongs to this process alone",
        SWAP64,
        "linux",
        "swp_exclusive",
    ),
    Field("offset", 9, 50, _SWAP, "where on the swap device, bits inverted (against L1TF)", SWAP64, "linux"),
    Field("type", 59, 5, _SWAP, "which swap device, or which special entry", SWAP64, "linux"),
)


@functools.cache
def fields(kernel: Kernel) -> tuple[Field, ...]:
    """Return the fields that entries of `kernel` have: those whose feature it has, the C-bit where it lies."""
    found = []
    for field in FIELDS:
        if field.needs == "encryption":
            if kernel.encryption_mask:
                found.append(dataclasses.replace(field, low=kernel.encryption_mask.bit_length() - 1))
        elif field.name == "pfn" and kernel.encryption_mask:  # no address has bits above the C-bit
            found.append(dataclasses.replace(field, width=kernel.encryption_mask.bit_length() - 1 - field.low))
        elif field.needs is None or field.needs in kernel.features:
            found.append(field)
    return tuple(found)
