"""Frames made by hand, for tests of the difference between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic import PteFrame
    from pte_magic.api.pte_diff import PteDiff

PAGE, MIB2, GIB = 1 << 12, 2 << 20, 1 << 30  # of x86-64, whose entries these are
START = 1 << 30
GUARD, MIGRATION_TYPE = 0xFFFFFFFFFFFFF600, 30
RW, ACCESSED, DIRTY, PSE, NX = 1 << 1, 1 << 5, 1 << 6, 1 << 7, 1 << 63
SIZES = {"pte": PAGE, "pmd": MIB2, "pud": GIB, "pgd": 1 << 39}


def page(frame_number: int, flags: int = 0x67) -> int:
    return frame_number << 12 | flags | NX


def huge(frame_number: int, flags: int = 0xE7) -> int:
    return page(frame_number, flags)


def swap(offset: int, kind: int = 0) -> int:
    return (~offset << 14 & (1 << 64) - 1) >> 5 | kind << 59


def protnone(frame_number: int) -> int:
    return (~(frame_number << 12) & 0x000F_FFFF_FFFF_F000) | 0x160


def made(*spans: tuple[int, str, Sequence[int]], encryption_mask: int = 0) -> PteFrame:
    """Return the frame of some spans: first address, level, raw entries."""
    table = [(vaddr, SIZES[level], len(raw), LEVELS.index(level)) for vaddr, level, raw in spans]
    raw = np.array([entry for *_, part in spans for entry in part], np.uint64)
    bits = AddressBits(encryption_mask)
    found = Entries(raw, np.array(table, SPAN), "x86_64", "bpf", address_bits=bits)
    return pte_frame.build(found, kernel.running(bits), pid=1)


def pages(*raw: int) -> PteFrame:
    return made((START, "pte", raw))


def change(before: int, after: int, level: str = "pte") -> str:
    """Return the words for one entry that became another; nothing if there is no row."""
    found = made((START, level, [before])).diff(made((START, level, [after])))
    return "" if found.empty else str(found["change"].item())


def split(addresses: Sequence[int], words: Sequence[str]) -> dict[int, set[str]]:
    return {address: set(said.split(", ")) for address, said in zip(addresses, words, strict=True)}


def told(found: PteDiff) -> dict[int, set[str]]:
    """Return the words by address; the CPU may set accessed whenever it likes."""
    return split(found["vaddr"].tolist(), found["change"].tolist())
