"""32-bit x86's entries made as the kernel makes them: asm/pgtable-2level.h and pgtable-3level.h, on plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from kernel_macros import ALL, NX, PRESENT, PROTNONE, PSE, protnone_mask

from pte_magic.formats.kernel import Kernel, of_release

SWP_EXCLUSIVE = PSE


@dataclass(frozen=True)
class Macros:
    """Those of a kernel with PAE or without, of some release.

    Attributes:
        pae: Whether it has PAE.
        release: Of the kernel.

    """

    pae: bool
    release: tuple[int, int]

    @property
    def kernel(self) -> Kernel:
        """What pte_magic knows of such a kernel."""
        return of_release("x86_pae" if self.pae else "x86_32", self.release)

    @property
    def physical_mask(self) -> int:
        """``__PHYSICAL_MASK`` of page_32_types.h."""
        return (1 << (52 if self.pae else 32)) - 1

    @property
    def huge(self) -> tuple[str, int]:
        """The level of huge pages, and how many bits of an address they are for."""
        return ("pmd", 21) if self.pae else ("pgd", 22)

    def leaf(self, pfn: int, flags: int, shift: int = 12) -> int:
        """``pfn_pte()`` and ``pfn_pmd()``: inverted where it is not present, with PAE."""
        inverted = protnone_mask(flags) if self.pae else 0
        return ((pfn << 12) ^ inverted) & self.physical_mask & -(1 << shift) | flags

    def swap_entry(self, kind_of: int, offset: int, flags: int = 0) -> int:
        """``__swp_entry()`` with PAE as ``__swp_pteval_entry()``, and the flag of ``pte_swp_mkexclusive()``."""
        if self.pae:
            return (~offset << 14 & ALL) >> 5 | kind_of << 59 | flags
        return kind_of << 1 | offset << 9 | flags

    @property
    def flags(self) -> dict[str, int]:
        """The bits of leaves that columns say, by the column."""
        found = {"rw": 1 << 1, "user": 1 << 2, "accessed": 1 << 5, "dirty": 1 << 6, "special": 1 << 9}
        found |= {"saved_dirty": 1 << 10} if self.release >= (6, 6) else {}
        return found | ({"nx": NX} if self.pae else {})


MACROS = [Macros(pae, release) for pae in (False, True) for release in ((6, 1), (6, 12))]
__all__ = ["MACROS", "PRESENT", "PROTNONE", "PSE", "SWP_EXCLUSIVE", "Macros"]
