"""Entries made by the kernel's macros: without their place, they are what the macros make of page frame 0."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from kernel_macros import FEATURES_OF, LEAF_MASK, PRESENT, PROTNONE, PSE, kernel
from test_hidden_in_c import COMPILER, compiled

from pte_magic.formats.hidden import hide
from pte_magic.formats.kernel import of_release
from pte_magic.formats.registry import FORMATS
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from turn import Turn

    from pte_magic.formats.kernel import Kernel

WHAT = "hide(), by the kernel's macros and by the module's C"
NEEDS_ROOT = ""

COUNT = 1 << 16  # of each kind, of a kernel in a round
U = np.uint64
ALL = ~U(0)


def leaf(pfn: NDArray[np.uint64], flags: NDArray[np.uint64], level: str) -> NDArray[np.uint64]:
    """``pfn_pte()`` and its like on arrays, inverted against L1TF as by ``protnone_mask()``."""
    inverted = np.where((flags != 0) & (flags & U(PRESENT) == 0), ALL, U(0))
    return ((pfn << U(12)) ^ inverted) & U(LEAF_MASK[level]) | flags


def swap(type_: NDArray[np.uint64], offset: NDArray[np.uint64], flags: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """``__swp_entry()`` of pgtable_64.h on arrays."""
    return ((~offset << U(14)) >> U(5)) | type_ << U(59) | flags


def hidden(entries: NDArray[np.uint64], level: str, of: Kernel) -> NDArray[np.uint64]:
    made = entries.copy()
    hide(made, np.full(len(made), LEVELS.index(level), np.int8), of)
    return made


def same(made: NDArray[np.uint64], told: NDArray[np.uint64], before: NDArray[np.uint64], what: object) -> None:
    different = np.flatnonzero(made != told)
    assert not different.size, (what, [(hex(before[i]), hex(made[i]), hex(told[i])) for i in different[:9]])


def by_macros(random: np.random.Generator, words: str) -> int:
    """Compare entries of pages and of swap; return how many."""
    of, pairs = kernel(words), 0
    for level in LEAF_MASK:
        pfn = random.integers(1, 1 << 40, COUNT, U) & U(LEAF_MASK[level] >> 12)
        # All flags that such an entry may have: of a page, of one that nobody may touch, below and above the frame.
        flags = random.integers(0, 1 << 12, COUNT, U) | random.integers(0, 1 << 12, COUNT, U) << U(52)
        flags &= ~U(PRESENT | PROTNONE)
        flags |= np.where(random.random(COUNT) < 0.5, U(PRESENT), U(PROTNONE))
        if level != "pte":
            flags |= U(PSE)
            flags |= random.integers(0, 2, COUNT, U) << U(12)  # PAT_LARGE
        before = leaf(pfn, flags, level)
        unused = U(LEAF_MASK["pte"] & ~LEAF_MASK[level] & ~(1 << 12))  # of the frame of a page that is not this huge
        made, told = hidden(before, level, of), leaf(np.zeros_like(pfn), flags, level)
        same(made & ~unused, told & ~unused, before, (words, level))
        assert set((made & unused).tolist()) <= {0, int(unused)}
        pairs += COUNT
    states = np.array([state for state, _ in of.swap.types])
    type_ = random.integers(0, 32, COUNT, U)
    marks = np.array([kind == "pte_marker" for _, kind in of.swap.types]) | (states == "marker")
    frames = np.array([kind == "swapin_error" for _, kind in of.swap.types])
    is_swap, is_mark = (states == "swap")[type_.astype(int)], (marks & ~frames)[type_.astype(int)]
    offset, flags = random.integers(0, (1 << 50) - 2, COUNT, U), random.integers(0, 8, COUNT, U) << U(1)
    before = swap(type_, offset, flags)
    made = hidden(before, "pte", of)
    assert (made[is_mark] == before[is_mark]).all()
    # Nothing but the flags and the type of what is no swap device may be left: the same of any two offsets.
    other = hidden(swap(np.where(is_swap, U(0), type_), offset[::-1].copy(), flags), "pte", of)
    same(made[~is_mark], other[~is_mark], before[~is_mark], (words, "swap"))
    assert ((made & U(0b1110)) == (before & U(0b1110))).all()
    assert made.all()
    return pairs + COUNT


def in_c(random: np.random.Generator, of: Kernel, library: ctypes.CDLL) -> int:
    """Compare any entries with what the module's C makes of them; return how many."""
    for level in of.format.levels:
        entries = random.integers(0, 1 << of.format.bits, COUNT, U)
        entries[::3] &= U(0xFFF0_0000_0000_0FFF) | random.integers(0, 1 << 52, len(entries[::3]), U)
        if of.format.name == "x86_pae" and level == "pgd":
            entries &= ~U(PSE)  # reserved there
        theirs = entries.copy()
        upper, mask = ctypes.c_bool(level != "pte"), ctypes.c_uint64(of.encryption_mask)
        assert library.hide(ctypes.c_void_p(theirs.ctypes.data), ctypes.c_uint(COUNT), upper, mask) == 0
        same(hidden(entries, level, of), theirs, entries, (of.format.name, level))
    return COUNT * len(of.format.levels)


def attack(turn: Turn) -> None:
    kernels = [kernel(words) for words in FEATURES_OF.values()]
    kernels += [of_release(name, release) for name in FORMATS for release in ((6, 1), (6, 12), (7, 2))]
    libraries = {}
    with tempfile.TemporaryDirectory() as name:
        for chance in turn.rounds():
            random = np.random.default_rng(turn.seed)
            for words in FEATURES_OF.values():
                turn.count(pairs_by_macros=by_macros(random, words))
            if COMPILER:
                number = chance.randrange(len(kernels))
                if number not in libraries:
                    place = Path(name) / str(number)
                    place.mkdir()
                    libraries[number] = compiled(kernels[number], place).library
                turn.count(pairs_by_c=in_c(random, kernels[number], libraries[number]))
