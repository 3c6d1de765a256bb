"""Page-table entries of arm64, as tables of bit fields: one per granule, with and without LPA2 (52-bit addresses).

Sources: the Arm Architecture Reference Manual (DDI 0487), D8.3 ("Translation table descriptor formats"), and
arch/arm64/include/asm/pgtable-hwdef.h, pgtable-prot.h and pgtable.h of Linux 6.1 to 7.2.

Columns mean the same as on x86: ``rw`` that writes are allowed now, ``dirty`` what ``pte_dirty()`` says, ``global``
that the entry stays in the TLB when the address space changes. None of these is a single bit of arm64, so they are
derived; the fields are the raw bits, by the kernel's names. ``user`` is also set for pages that user mode may only
execute. A clean, writable page has ``dbm`` set and is not ``rw``: the first write makes it dirty and ``rw`` at once,
by the hardware if it can (FEAT_HAFDBS), else by the kernel. Entries that point to page tables limit only execution.
"""

from __future__ import annotations

from pte_magic.formats.field import HARD, LEAVES, Field, Shape
from pte_magic.formats.format import Derived, Format, Rule
from pte_magic.formats.x86_64 import FAULTS, NO_UFFD, NO_UFFD_WP, NOT_DEVMAP, NOT_EXCLUSIVE, NOT_SPECIAL, UFFD, UFFD_WP

ARM, HWDEF = "Arm ARM D8.3", "arch/arm64/include/asm/pgtable-hwdef.h"
PROT, PGTABLE = "arch/arm64/include/asm/pgtable-prot.h", "arch/arm64/include/asm/pgtable.h"

_TABLE, _SWAP = frozenset({Shape.TABLE}), frozenset({Shape.SWAP})
_ANY = frozenset(Shape)
_SOFT = LEAVES - HARD
_GLOBAL = "global: in the TLB for every address space"

VALID, TABLE, USER, RDONLY, NG = 1 << 0, 1 << 1, 1 << 6, 1 << 7, 1 << 11
DBM, PXN, UXN, DIRTY, PROT_NONE, PMD_PRESENT_INVALID = 1 << 51, 1 << 53, 1 << 54, 1 << 55, 1 << 58, 1 << 59

_COMMON = (
    Field("valid", 0, 1, _ANY, "the CPU translates through this entry", ARM, column="present", zero=FAULTS),
    Field(
        "table", 1, 1, LEAVES | _TABLE, "not a block: the next page table, or a page of the last level", ARM,
        zero="a block: a huge page, not a page table",
    ),
    Field("attrindx", 2, 3, LEAVES, "memory type: which of MAIR_EL1", ARM),
    Field(
        "user", 6, 1, LEAVES, "user mode may read it, AP[1]", ARM, zero="reads and writes from user mode fault, AP[1]",
    ),
    Field("rdonly", 7, 1, LEAVES, "writes are not allowed now, AP[2]", ARM, zero="writes are allowed, AP[2]"),
    Field(
        "af", 10, 1, LEAVES, "it has been used: access flag", ARM, column="accessed",
        zero="not used since the access flag was cleared",
    ),
    Field(
        "table_af", 10, 1, _TABLE, "it has been used, if the CPU has FEAT_HAFT", HWDEF,
        zero="not used, or the CPU does not have FEAT_HAFT",
    ),
    Field("ng", 11, 1, HARD, "not global: in the TLB for this address space only", ARM, zero=_GLOBAL),
    Field(
        "ng", 11, 1, _SOFT, "not global: in the TLB for this address space only", ARM, needs="prot_none58",
        zero=_GLOBAL,
    ),
    Field(
        "present_invalid", 11, 1, _SOFT, "in memory, though not valid: no access, or being split (since 6.10)", PROT,
        "linux", needs="present_invalid", zero="not marked as in memory",
    ),
    Field(
        "gp", 50, 1, LEAVES, "guarded page: branches may only go to landing pads (BTI)", ARM, column="gp",
        zero="not a guarded page",
    ),
    Field(
        "dbm", 51, 1, LEAVES, "a write clears rdonly (Linux: PTE_WRITE)", ARM, column="dbm",
        zero="a write does not clear rdonly",
    ),
    Field(
        "cont", 52, 1, LEAVES, "part of a contiguous block that the TLB may hold as one", ARM, column="cont",
        zero="not part of a contiguous block",
    ),
    Field(
        "pxn", 53, 1, LEAVES, "instruction fetches of the kernel fault", ARM, column="pxn",
        zero="the kernel may execute it",
    ),
    Field(
        "uxn", 54, 1, LEAVES, "instruction fetches from user mode fault", ARM, column="uxn",
        zero="user mode may execute it",
    ),
    Field(
        "dirty", 55, 1, LEAVES, "written; kept here while read-only, or by the kernel alone", PROT, "linux",
        zero="not marked here as written",
    ),
    Field(
        "special", 56, 1, LEAVES, "no struct page to count: zero page, device", PROT, "linux", "special",
        zero=NOT_SPECIAL,
    ),
    Field(
        "devmap", 57, 1, LEAVES, "memory of a device (DAX, to 6.16)", PROT, "linux", "devmap", "devmap",
        zero=NOT_DEVMAP,
    ),
    Field(
        "prot_none", 58, 1, _SOFT, "in memory, but no access allowed", PROT, "linux", None, "prot_none58",
        zero="not PROT_NONE",
    ),
    Field(
        "pmd_present_invalid", 59, 1, _SOFT, "huge page in memory, though not valid (before 6.10)", PROT, "linux",
        needs="prot_none58", zero="not marked as in memory",
    ),
    Field("uffd_wp", 58, 1, LEAVES, UFFD_WP, PROT, "linux", "uffd_wp", "uffd_wp", unless="uffd_rwp", zero=NO_UFFD_WP),
    Field("uffd", 58, 1, LEAVES, UFFD, PROT, "linux", needs="uffd_rwp", zero=NO_UFFD),
    Field("po_idx", 60, 3, LEAVES, "protection key: permission overlay (POE)", HWDEF, column="pkey", needs="poe"),
    Field(
        "table_pxn", 59, 1, _TABLE, "instruction fetches of the kernel from below fault", ARM, column="pxn",
        zero="the entries below decide what the kernel may execute",
    ),
    Field(
        "table_uxn", 60, 1, _TABLE, "instruction fetches of user mode from below fault", ARM, column="uxn",
        zero="the entries below decide what user mode may execute",
    ),
    Field("table_ap", 61, 2, _TABLE, "limits below: bit 61 for no access from user mode, bit 62 for no writes", ARM),
    Field(
        "swp_exclusive", 2, 1, _SWAP, "the anonymous page belongs to this process alone", PROT, "linux",
        "swp_exclusive", zero=NOT_EXCLUSIVE,
    ),
    Field("swp_uffd_wp", 3, 1, _SWAP, UFFD_WP, PROT, "linux", "uffd_wp", "uffd_wp", unless="uffd_rwp", zero=NO_UFFD_WP),
    Field("swp_uffd", 3, 1, _SWAP, UFFD, PROT, "linux", needs="uffd_rwp", zero=NO_UFFD),
    Field("type", 6, 5, _SWAP, "which swap device, or which special entry", PGTABLE, "linux", needs="present_invalid"),
    Field("offset", 12, 50, _SWAP, "where on the swap device", PGTABLE, "linux", needs="present_invalid"),
    Field("type", 3, 5, _SWAP, "which swap device, or which special entry", PGTABLE, "linux", needs="prot_none58"),
    Field("offset", 8, 50, _SWAP, "where on the swap device", PGTABLE, "linux", needs="prot_none58"),
)  # fmt: skip

RULES = (
    Rule("last", VALID, VALID, Shape.PAGE),
    Rule("upper", VALID | TABLE, VALID | TABLE, Shape.TABLE),
    Rule("upper", VALID, VALID, Shape.HUGE),
    Rule("last", NG, NG, Shape.PROTNONE, "present_invalid"),
    Rule("upper", NG | USER | UXN, NG | UXN, Shape.PROTNONE_HUGE, "present_invalid"),
    Rule("upper", NG, NG, Shape.INVALID_HUGE, "present_invalid"),
    Rule("last", PROT_NONE, PROT_NONE, Shape.PROTNONE, "prot_none58"),
    Rule("upper", PROT_NONE, PROT_NONE, Shape.PROTNONE_HUGE, "prot_none58"),
    Rule("upper", PMD_PRESENT_INVALID, PMD_PRESENT_INVALID, Shape.INVALID_HUGE, "prot_none58"),
    Rule("any", TABLE, TABLE, Shape.NOT_PRESENT),
    Rule("any", 0, 0, Shape.SWAP),
)
"""``pte_present()``, ``pte_protnone()``, ``pmd_table()``, ``pmd_mkinvalid()`` of asm/pgtable.h.

At the last level only the kernel's own entries are invalid without being PROT_NONE. Swap entries have bit 1 clear.
"""

DERIVED = (
    Derived("rw", LEAVES, ((RDONLY, 0),), unless="shadow_stack"),
    # Not those of a shadow stack (GCS), in which rdonly is clear, too; of all others in user mode pxn or uxn differs.
    Derived(
        "rw", LEAVES, tuple((RDONLY | bit, value) for bit, value in ((USER, 0), (UXN, 0), (PXN, PXN))), "shadow_stack"
    ),
    Derived("user", LEAVES, ((USER, USER), (UXN, 0))),
    Derived("dirty", LEAVES, ((DIRTY, DIRTY), (DBM | RDONLY, DBM))),
    Derived("global", HARD, ((NG, 0),)),
)

_COLUMNS = (
    *("present", "rw", "user", "accessed", "dirty", "global", "special", "uffd_wp", "uxn", "pxn", "cont", "dbm", "gp"),
    *("devmap", "swp_exclusive"),
)
MAIR = ("Normal", "Normal-Tagged", "Normal-NC", "Device-nGnRnE", "Device-nGnRE", None, None, None)
"""``MT_NORMAL`` and so on, arch/arm64/include/asm/memory.h; since 5.13 in this order, with nothing after them."""

_SH = Field("sh", 8, 2, LEAVES, "shareability: 0 none, 2 outer, 3 inner", ARM)


def _frames(low: int, high: int, **and_more: tuple[int, int, int]) -> tuple[Field, ...]:
    """Return the fields of the page frame: bits `low` to `high` in place, others (low, width, address) elsewhere."""
    fields = [
        Field("pfn", low, high - low + 1, LEAVES | _TABLE, "page frame: bits of the physical address", ARM, address=low)
    ]
    for name, (at, width, address) in and_more.items():
        meaning = f"page frame: bits {address + width - 1}:{address} of the physical address"
        fields.append(Field(name, at, width, LEAVES | _TABLE, meaning, ARM, address=address))
    return tuple(fields)


def _format(
    name: str, frames: tuple[Field, ...], physmem_bits: tuple[tuple[str | None, int], ...], cont: tuple[int, int]
) -> Format:
    return Format(
        name,
        (*_COMMON, *frames),
        RULES,
        _COLUMNS,
        MAIR,
        frozenset({"attrindx"}),
        physmem_bits,  # PHYS_MASK_SHIFT, arch/arm64/include/asm/pgtable-prot.h
        DERIVED,
        contiguous=cont,
        numbers=("pkey",),
        optional={"pkey": "poe"},
        shadow_stack=(VALID | USER | PXN | UXN, VALID | USER | UXN),  # _PAGE_GCS and _PAGE_GCS_RO, asm/pgtable-prot.h
    )


# How many entries the contiguous bit joins: Arm ARM D8.7.1, and CONT_PTE_SHIFT, CONT_PMD_SHIFT of arch/arm64/Kconfig.
_CONT4, _CONT16, _CONT64 = (16, 16), (128, 32), (32, 32)
_48, _52 = ((None, 48),), ((None, 52),)

FORMATS = (
    _format("arm64_4k", (_SH, *_frames(12, 49)), _48, _CONT4),
    _format("arm64_4k_lpa2", _frames(12, 49, pfn_high=(8, 2, 50)), _52, _CONT4),
    _format("arm64_16k", (_SH, *_frames(14, 49)), _48, _CONT16),
    _format("arm64_16k_lpa2", _frames(14, 49, pfn_high=(8, 2, 50)), _52, _CONT16),
    _format("arm64_64k", (_SH, *_frames(16, 47, pfn_high=(12, 4, 48))), (("pa52", 52), (None, 48)), _CONT64),
)
