"""Frames of machines that are not this one, made by hand, and what is to be known of them without the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from pte_magic import PteFrame

PFN = 0x153016
ARM_PAGE, ARM_START = 16 << 10, 1 << 40
X86_PAGE, X86_START = 4096, 1 << 30
# arch/arm64/include/asm/pgtable-hwdef.h: UXN; nG, AF, SH, AP[1], Normal memory; page.
_ARM = 1 << 54 | 0xF40 | 0b11
_X86 = 0x67 | 1 << 63  # present, rw, user, accessed, dirty; nx


def arm(count: int = 6, host: str = "arm") -> PteFrame:
    """Return pages of 16 KiB whose page frames follow each other, `PFN` first."""
    raw = np.array([(PFN + at) * ARM_PAGE | _ARM for at in range(count)], np.uint64)
    spans = np.array([(ARM_START, ARM_PAGE, count, LEVELS.index("pte"))], SPAN)
    return pte_frame.build(Entries(raw, spans, "arm64_16k", "bpf"), kernel.reading("arm64_16k"), pid=1, host=host)


def x86(count: int = 6, host: str = "x86", *, mask: int = 0, hidden: bool = False) -> PteFrame:
    """Return pages of 4 KiB, likewise; their memory is encrypted by a bit, or their frames are hidden."""
    frames = [0 if hidden else (PFN + at) * X86_PAGE for at in range(count)]
    raw = np.array([found | _X86 | mask for found in frames], np.uint64)
    spans = np.array([(X86_START, X86_PAGE, count, LEVELS.index("pte"))], SPAN)
    found = Entries(raw, spans, "x86_64", "bpf", address_bits=AddressBits(mask, hidden))
    return pte_frame.build(found, kernel.of_release("x86_64"), pid=2, host=host)


def way(of: PteFrame) -> PteFrame:
    """Return the last entry of a frame as that of one address, with the tables on the way, all levels."""
    leaf = of.iloc[-1]
    is_arm = str(leaf["host"]) == "arm"
    bits, low = (11, 14) if is_arm else (9, 12)
    address = int(leaf["vaddr"])
    spans, raw = [], []
    for level, up in (("pgd", 3), ("pud", 2), ("pmd", 1), ("pte", 0)):
        size = 1 << low + bits * up
        spans.append((address & -size, size, 1, LEVELS.index(level)))
        raw.append(int(leaf["entry"]) if not up else (0x1000 * ARM_PAGE | 3 if is_arm else 0x1067))
    encoding = "arm64_16k" if is_arm else "x86_64"
    found = Entries(np.array(raw, np.uint64), np.array(spans, SPAN), encoding, "bpf")
    return pte_frame.build(found, kernel.of_release(encoding), pid=int(leaf["pid"]), host=str(leaf["host"]))
