"""Page-table entries of x86-64, as one table of bit fields.

Sources: the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A, section 4.5 ("4-level paging and
5-level paging"), and arch/x86/include/asm/pgtable_types.h and pgtable_64.h of Linux 6.1 to 6.19.
"""

from __future__ import annotations

from pte_magic.formats.field import BIG, HARD, LEAVES, SMALL, TABLES, Field, Shape
from pte_magic.formats.format import Format, Rule

SDM = "Intel SDM 3A, 4.5"
TYPES = "arch/x86/include/asm/pgtable_types.h"
SWAP64 = "arch/x86/include/asm/pgtable_64.h"

_TABLE = frozenset({Shape.TABLE})
_SWAP = frozenset({Shape.SWAP})
_ANY = frozenset(Shape)

UFFD_WP, NO_UFFD_WP = "write-protected by userfaultfd", "not write-protected by userfaultfd"
UFFD, NO_UFFD = "protected by userfaultfd: the region tells from what", "not protected by userfaultfd"
SOFT_DIRTY = "written since clear_refs last cleared this bit"
FAULTS = "the CPU faults"
NOT_SPECIAL, NOT_DEVMAP = "not marked as a zero page or a device", "not memory of a device (DAX)"
NOT_EXCLUSIVE = "not marked as this process' alone"
PRESENT, RW, USER, PCD, ACCESSED, DIRTY, PSE, PROTNONE = (1 << bit for bit in (0, 1, 2, 4, 5, 6, 7, 8))

FIELDS = (
    Field("present", 0, 1, _ANY, "the CPU translates through this entry", SDM, column="present", zero=FAULTS),
    Field("rw", 1, 1, LEAVES | _TABLE, "writes are allowed", SDM, column="rw", zero="writes fault"),
    Field(
        "user", 2, 1, LEAVES | _TABLE, "user mode may use it", SDM, column="user", zero="accesses from user mode fault"
    ),
    Field(
        "pwt",
        3,
        1,
        LEAVES | _TABLE,
        "page-level write-through: bit 0 of the PAT index",
        SDM,
        zero="no page-level write-through: bit 0 of the PAT index",
    ),
    Field(
        "pcd",
        4,
        1,
        LEAVES | _TABLE,
        "page-level cache disable: bit 1 of the PAT index",
        SDM,
        zero="no page-level cache disable: bit 1 of the PAT index",
    ),
    Field(
        "accessed",
        5,
        1,
        LEAVES | _TABLE,
        "the CPU has used it",
        SDM,
        column="accessed",
        zero="the CPU has not used it since the bit was cleared",
    ),
    Field(
        "dirty",
        6,
        1,
        LEAVES,
        "the CPU has written through it",
        SDM,
        column="dirty",
        zero="the CPU has not written through it since the bit was cleared",
    ),
    Field("pat", 7, 1, SMALL, "bit 2 of the PAT index is set", SDM, zero="bit 2 of the PAT index is clear"),
    Field(
        "pse",
        7,
        1,
        BIG | _TABLE,
        "page size: a leaf here, not a page table",
        SDM,
        zero="page size: a page table here, not a leaf",
    ),
    Field(
        "global",
        8,
        1,
        HARD,
        "stays in the TLB when the address space changes",
        SDM,
        column="global",
        zero="in the TLB for this address space only",
    ),
    Field(
        "protnone",
        8,
        1,
        LEAVES - HARD,
        "in memory, but no access allowed (PROT_NONE or NUMA hinting)",
        TYPES,
        "linux",
        zero="neither PROT_NONE nor NUMA hinting",
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
        zero=NOT_SPECIAL,
    ),
    Field("uffd_wp", 10, 1, LEAVES, UFFD_WP, TYPES, "linux", "uffd_wp", unless="uffd_rwp", zero=NO_UFFD_WP),
    Field("uffd", 10, 1, LEAVES, UFFD, TYPES, "linux", needs="uffd_rwp", zero=NO_UFFD),
    Field(
        "soft_dirty",
        11,
        1,
        LEAVES,
        f"{SOFT_DIRTY} (kernel mappings: KERNEL_4K)",
        TYPES,
        "linux",
        "soft_dirty",
        "soft_dirty",
        zero=f"not {SOFT_DIRTY}",
    ),
    Field(
        "pat_large",
        12,
        1,
        BIG,
        "bit 2 of the PAT index is set, in a huge leaf",
        SDM,
        zero="bit 2 of the PAT index is clear, in a huge leaf",
    ),
    Field("pfn", 12, 40, SMALL | TABLES, "page frame number: physical address / 4096", SDM, address=12),
    Field("pfn", 13, 39, BIG, "page frame number / 2; low bits are zero for a huge page", SDM, address=13),
    Field(
        "encrypted",
        0,
        1,
        LEAVES | _TABLE,
        "the memory is encrypted (the C-bit)",
        "AMD APM 2, 7.10",
        "cpu",
        "encrypted",
        "encryption",
        zero="the memory is not encrypted (the C-bit)",
    ),
    Field("devmap", 57, 1, LEAVES, "memory of a device (DAX)", TYPES, "linux", "devmap", "devmap57", zero=NOT_DEVMAP),
    Field("devmap", 58, 1, LEAVES, "memory of a device (DAX)", TYPES, "linux", "devmap", "devmap58", zero=NOT_DEVMAP),
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
        zero="no dirty bit is kept here",
    ),
    Field(
        "noptishadow",
        58,
        1,
        _TABLE,
        "pgd entry without a copy for user mode (since 6.13)",
        TYPES,
        "linux",
        None,
        "saved_dirty",  # it shares the bit, and came later
        zero="not marked as without a copy for user mode",
    ),
    Field("pkey", 59, 4, LEAVES, "protection key", SDM, column="pkey"),
    Field(
        "nx",
        63,
        1,
        LEAVES | _TABLE,
        "instruction fetches fault",
        SDM,
        column="nx",
        zero="instruction fetches are allowed",
    ),
    Field(
        "soft_dirty",
        1,
        1,
        _SWAP,
        SOFT_DIRTY,
        SWAP64,
        "linux",
        "soft_dirty",
        "soft_dirty",
        zero=f"not {SOFT_DIRTY}",
    ),
    Field("uffd_wp", 2, 1, _SWAP, UFFD_WP, SWAP64, "linux", "uffd_wp", unless="uffd_rwp", zero=NO_UFFD_WP),
    Field("uffd", 2, 1, _SWAP, UFFD, SWAP64, "linux", needs="uffd_rwp", zero=NO_UFFD),
    Field(
        "swp_exclusive",
        3,
        1,
        _SWAP,
        "the anonymous page belongs to this process alone",
        SWAP64,
        "linux",
        "swp_exclusive",
        zero=NOT_EXCLUSIVE,
    ),
    Field("offset", 9, 50, _SWAP, "where on the swap device, bits inverted (against L1TF)", SWAP64, "linux"),
    Field("type", 59, 5, _SWAP, "which swap device, or which special entry", SWAP64, "linux"),
)


MAPPED = (
    Rule("last", PRESENT, PRESENT, Shape.PAGE),
    Rule("upper", PRESENT | PSE, PRESENT | PSE, Shape.HUGE),
    Rule("upper", PRESENT, PRESENT, Shape.TABLE),
    Rule("last", PROTNONE, PROTNONE, Shape.PROTNONE),
    Rule("upper", PROTNONE, PROTNONE, Shape.PROTNONE_HUGE),
    Rule("upper", PSE, PSE, Shape.INVALID_HUGE),
)
"""``pte_present()``, ``pmd_present()``, ``pmd_leaf()`` of arch/x86/include/asm/pgtable.h."""

RULES = (
    *MAPPED,
    *(Rule("any", bit, bit, Shape.NOT_PRESENT) for bit in (PCD, ACCESSED, DIRTY)),
    Rule("last", PSE, PSE, Shape.NOT_PRESENT),
    Rule("any", 0, 0, Shape.SWAP),
)
"""Swap entries have bits 4 to 7 clear (asm/pgtable_64.h); only an erratum of Knights Landing may set 5 and 6."""

INVERTED = LEAVES - HARD
"""Not present: arch/x86/include/asm/pgtable-invert.h."""

PAT = ("WB", "WC", "UC-", "UC", "WB", "WP", "UC-", "WT")
"""The full PAT of Linux (arch/x86/mm/pat/memtype.c)."""
PAT_FIELDS = frozenset({"pwt", "pcd", "pat", "pat_large"})

FORMAT = Format(
    "x86_64",
    FIELDS,
    RULES,
    (
        *("present", "rw", "user", "accessed", "dirty", "global", "special", "soft_dirty", "uffd_wp", "nx"),
        *("saved_dirty", "devmap", "encrypted", "swp_exclusive"),
    ),
    PAT,
    PAT_FIELDS,
    (("five_levels", 52), (None, 46)),  # arch/x86/include/asm/sparsemem.h
    inverted=INVERTED,
    swap_inverted=True,
    numbers=("pkey",),
    shadow_stack=(PRESENT | RW | USER | DIRTY, PRESENT | USER | DIRTY),  # pte_shstk(), asm/pgtable.h
    memory_bits=46,  # as many as four levels have room for in the direct map: 64 TiB
)
