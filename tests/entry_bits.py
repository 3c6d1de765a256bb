"""What tests know of entries' bits by themselves, by architecture: numbers of the manuals and the kernel's headers.

Guests have little memory: no frame and no place to swap to needs the bits that hold the highest part of an address.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from handmade import PAGE
from versions import release

from pte_magic.linux import hardware


class Bits(NamedTuple):
    """The bits of a kernel's entries.

    Attributes:
        valid: Mask of the bit by which the CPU translates.
        kept: Mask of the bit by which an entry that is not valid is of a page in memory that nobody may touch.
        inverted: Whether all bits of addresses are inverted in entries that are not valid.
        table: Mask and value of an entry that points to a table, above the lowest level.
        user: Mask of the bit that a valid leaf of a user's page has.
        accessed: Mask of the bit that the kernel clears now and then, to see whether it comes again.
        never: Mask of bits that no valid leaf of a user's page has.
        low_in_huge: Mask of bits that, below the address, a leaf above the lowest level may have.
        address: Lowest and first bit above those of an address.
        swap_type: Lowest bit and width, in a swap entry.
        swap_offset: The same.
        uffd_wp: Number of the bit in the entry of a page, and in a swap entry; None where the kernel has none.
        soft_dirty: The same.

    """

    valid: int
    kept: int
    inverted: bool
    table: tuple[int, int]
    user: int
    accessed: int
    never: int
    low_in_huge: int
    address: tuple[int, int]
    swap_type: tuple[int, int]
    swap_offset: tuple[int, int]
    uffd_wp: tuple[int, int] | None
    soft_dirty: tuple[int, int] | None


_PAGE_SHIFT = PAGE.bit_length() - 1

# arch/x86/include/asm/pgtable_types.h and pgtable_64.h
_X86_64 = Bits(
    valid=1 << 0, kept=1 << 8, inverted=True, table=(0x81, 0x01), user=1 << 2, accessed=1 << 5,
    never=0x1F << 52, low_in_huge=1 << 12, address=(12, 52),
    swap_type=(59, 5), swap_offset=(9, 50), uffd_wp=(10, 2), soft_dirty=(11, 1),
)  # fmt: skip
# arch/x86/include/asm/pgtable-3level.h: as above, but for what needs 64-bit machines.
_X86_PAE = _X86_64._replace(uffd_wp=None, soft_dirty=None)
# arch/x86/include/asm/pgtable-2level.h
_X86_32 = _X86_PAE._replace(
    inverted=False, never=0xFFFF_FFFF << 32, address=(12, 32), swap_type=(1, 5), swap_offset=(9, 23)
)
# arch/arm64/include/asm/pgtable-hwdef.h, pgtable-prot.h and pgtable.h. What is not global is a user's (nG); a page that
# may only be executed lacks the bit by which users may read it. Bit 63 is ignored by the hardware, and unused.
_ARM64 = Bits(
    valid=1 << 0, kept=1 << 11, inverted=False, table=(0b11, 0b11), user=1 << 11, accessed=1 << 10,
    never=1 << 63, low_in_huge=0, address=(_PAGE_SHIFT, 48),
    swap_type=(6, 5), swap_offset=(12, 50), uffd_wp=(58, 3), soft_dirty=None,
)  # fmt: skip
# Before "arm64/mm: Move PTE_PRESENT_INVALID to overlay PTE_NG" (6.10), and what came with it.
_ARM64_BEFORE_6_10 = _ARM64._replace(kept=1 << 58, swap_type=(3, 5), swap_offset=(8, 50), uffd_wp=None)


def address_mask() -> np.uint64:
    """Return the bits of an entry that hold the address of a page or a table."""
    low, end = bits().address
    return np.uint64((1 << end) - (1 << low))


def bits() -> Bits:
    """Return those of the running kernel."""
    if hardware.machine() == "arm64":
        return _ARM64 if release() >= (6, 10) else _ARM64_BEFORE_6_10
    return {"x86_64": _X86_64, "x86_pae": _X86_PAE, "x86_32": _X86_32}[hardware.encoding()]
