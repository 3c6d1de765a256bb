"""Entries made as the kernel makes them: its macros (arch/x86/include/asm) written anew, on plain numbers."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pte_magic.api import pte_frame
from pte_magic.formats import decode
from pte_magic.formats.kernel import Kernel, known
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable

ALL = (1 << 64) - 1
PRESENT, RW, USER, PWT, PCD, ACCESSED, DIRTY, PSE, GLOBAL, SPECIAL, UFFD_WP, SOFT_DIRTY, PAT_LARGE = (
    1 << bit for bit in range(13)
)
PAT, PROTNONE, NX = PSE, GLOBAL, 1 << 63
SWP_SOFT_DIRTY, SWP_UFFD_WP, SWP_EXCLUSIVE = RW, USER, PWT
PHYSICAL = ((1 << 52) - 1) & -4096
LEAF_MASK = {"pte": PHYSICAL, "pmd": PHYSICAL & -(1 << 21), "pud": PHYSICAL & -(1 << 30)}

FEATURES_OF = {
    "6.1": "migration memory_failure pte_marker swapin_error_type devmap58 soft_dirty",
    "6.12": "migration memory_failure device_private device_exclusive_pair pte_marker saved_dirty devmap57 soft_dirty",
    "6.18": "migration pte_marker saved_dirty",
    "7.2": "migration memory_failure device_private pte_marker saved_dirty soft_dirty",
}
"""Features of kernels whose swap types, soft-dirty, and bits 57 and 58 differ."""


def kernel(features: str, *, levels: int = 4, c_bit: int | None = None) -> Kernel:
    """Return a kernel with these features, a text of words."""
    words = frozenset(features.split())
    return known("x86_64", levels, words, AddressBits(0 if c_bit is None else 1 << c_bit))


KERNELS = {
    f"{release}-{levels}": kernel(words, levels=levels) for release, words in FEATURES_OF.items() for levels in (4, 5)
}


def union(bits: Iterable[int]) -> int:
    return reduce(or_, bits, 0)


def protnone_mask(value: int) -> int:
    """``protnone_mask()`` of pgtable-invert.h."""
    return ALL if value and not value & PRESENT else 0


def leaf(pfn: int, flags: int, level: str = "pte") -> int:
    """``pfn_pte()``, ``pfn_pmd()``, ``pfn_pud()``."""
    return ((pfn << 12) ^ protnone_mask(flags)) & LEAF_MASK[level] | flags


def mkinvalid(pmd: int) -> int:
    """``pmd_mkinvalid()`` of a pmd that is present."""
    return leaf((pmd & LEAF_MASK["pmd"]) >> 12, pmd & ~LEAF_MASK["pmd"] & ~(PRESENT | PROTNONE), "pmd")


def swap_entry(kind_of: int, offset: int, flags: int = 0) -> int:
    """``__swp_entry()`` of pgtable_64.h, with the flags of ``pte_swp_mksoft_dirty()`` and its like."""
    return ((~offset << 14 & ALL) >> 5) | kind_of << 59 | flags


def decoded(entry: int, level: str, of: Kernel) -> dict[str, object]:
    """Return what `pte_magic` says of one entry, without what is missing."""
    codes = np.array([LEVELS.index(level)], np.int8)
    table = pte_frame.of_columns(decode.columns(np.array([entry], np.uint64), codes, of), codes, of)
    return {name: table[name][0] for name in table.columns.drop("format") if not pd.isna(table[name][0])}
