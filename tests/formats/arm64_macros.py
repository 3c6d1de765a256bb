"""arm64's entries made as the kernel makes them: macros of arch/arm64/include/asm, of 6.1 and of 7.2, on numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pte_magic.formats.kernel import Kernel, of_release

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = (1 << 64) - 1
# pgtable-hwdef.h
VALID, TABLE, USER, RDONLY, SHARED, AF, NG = 1 << 0, 1 << 1, 1 << 6, 1 << 7, 3 << 8, 1 << 10, 1 << 11
GP, DBM, CONT, PXN, UXN = (1 << bit for bit in range(50, 55))
TABLE_PXN, TABLE_UXN, TABLE_AF = 1 << 59, 1 << 60, 1 << 10
# pgtable-prot.h
WRITE, DIRTY, SPECIAL, DEVMAP = DBM, 1 << 55, 1 << 56, 1 << 57
MAIR = ("Normal", "Normal-Tagged", "Normal-NC", "Device-nGnRnE", "Device-nGnRE")  # memory.h: MT_NORMAL and so on


@dataclass(frozen=True)
class Macros:
    """Those of a kernel with some page size, with LPA2 or not, and before or after 6.10.

    Attributes:
        encoding: The format's name.
        page_shift: Of a page.
        lpa2: Whether bits 9:8 are of the address.
        new: Whether it is 6.10 or later.

    """

    encoding: str
    page_shift: int
    lpa2: bool
    new: bool

    @property
    def kernel(self) -> Kernel:
        """What pte_magic knows of such a kernel."""
        return of_release(self.encoding, (7, 2) if self.new else (6, 1))

    @property
    def physical_bits(self) -> int:
        """``CONFIG_ARM64_PA_BITS``."""
        return 52 if self.lpa2 or self.page_shift == 16 else 48

    @property
    def block_shift(self) -> dict[str, int]:
        """How many bits of an address an entry of some level is for."""
        return {"pte": self.page_shift, "pmd": 2 * self.page_shift - 3, "pud": 3 * self.page_shift - 6}

    @property
    def cont(self) -> dict[str, int]:
        """``CONT_PTES`` and ``CONT_PMDS`` of Kconfig's shifts."""
        shifts = {12: (4, 4), 14: (7, 5), 16: (5, 5)}[self.page_shift]
        return dict(zip(("pte", "pmd"), (1 << shift for shift in shifts), strict=True))

    def phys_to_pte_val(self, phys: int) -> int:
        """``__phys_to_pte_val()``."""
        if self.page_shift == 16:
            return (phys | phys >> 36) & (((1 << 48) - 1) & -(1 << 16) | 0xF << 12)
        if self.lpa2:
            return (phys | phys >> 42) & (((1 << 50) - 1) & -(1 << 8))
        return phys

    def pfn_pte(self, pfn: int, prot: int) -> int:
        """``pfn_pte()``, ``pfn_pmd()``."""
        return self.phys_to_pte_val(pfn << self.page_shift) | prot

    @property
    def default(self) -> int:
        """``_PAGE_DEFAULT``, with MT_NORMAL."""
        return VALID | TABLE | AF | (0 if self.lpa2 else SHARED)

    @property
    def protections(self) -> dict[str, int]:
        """``PAGE_SHARED`` and its like, by what mprotect(2) calls them."""
        readonly = self.default | USER | RDONLY | NG | PXN | UXN
        return {
            "r": readonly,
            "rx": readonly & ~UXN,
            "rw": readonly | WRITE,
            "rwx": (readonly | WRITE) & ~UXN,
            "x": self.default | RDONLY | NG | PXN,
            "none": self.default & ~VALID | (0 if self.new else 1 << 58) | RDONLY | NG | PXN | UXN,
        }

    def protnone(self, pte: int) -> bool:
        """``pte_protnone()``."""
        if self.new:
            return pte & (VALID | NG) == NG and not pte & USER and bool(pte & UXN)
        return pte & (VALID | 1 << 58) == 1 << 58

    def mkinvalid(self, pmd: int) -> int:
        """``pmd_mkinvalid()``."""
        return (pmd | (NG if self.new else 1 << 59)) & ~VALID

    def swp_entry(self, kind_of: int, offset: int, flags: int = 0) -> int:
        """``__swp_entry()``, with the flags of ``pte_swp_mkexclusive()`` and its like."""
        return kind_of << (6 if self.new else 3) | offset << (12 if self.new else 8) | flags


def mkdirty(pte: int) -> int:
    """``pte_mkdirty()``."""
    return (pte | DIRTY) & (~RDONLY if pte & WRITE else ALL)


def mkclean(pte: int) -> int:
    """``pte_mkclean()``."""
    return pte & ~DIRTY | RDONLY


def hw_dirty(pte: int) -> bool:
    """``pte_hw_dirty()``."""
    return bool(pte & WRITE) and not pte & RDONLY


def dirty(pte: int) -> bool:
    """``pte_dirty()``."""
    return bool(pte & DIRTY) or hw_dirty(pte)


def wrprotect(pte: int) -> int:
    """``pte_wrprotect()``."""
    return (pte | (DIRTY if hw_dirty(pte) else 0)) & ~WRITE | RDONLY


def mkwrite(pte: int) -> int:
    """``pte_mkwrite_novma()``."""
    return (pte | WRITE) & (~RDONLY if pte & DIRTY else ALL)


STEPS: dict[str, Callable[[int], int]] = {
    "mkdirty": mkdirty,
    "mkclean": mkclean,
    "wrprotect": wrprotect,
    "mkwrite": mkwrite,
    "mkold": lambda pte: pte & ~AF,
    "mkyoung": lambda pte: pte | AF,
    "mkspecial": lambda pte: pte | SPECIAL,
    "mkcont": lambda pte: pte | CONT,
    "mkguarded": lambda pte: pte | GP,
    "mkglobal": lambda pte: pte & ~NG if pte & VALID else pte,
}
"""What the kernel does to entries."""

MACROS = [
    Macros(encoding, shift, lpa2, new)
    for encoding, shift, lpa2 in (
        ("arm64_4k", 12, False), ("arm64_4k_lpa2", 12, True), ("arm64_16k", 14, False), ("arm64_16k_lpa2", 14, True),
        ("arm64_64k", 16, False),
    )
    for new in (False, True)
]  # fmt: skip
