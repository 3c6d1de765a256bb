"""Raw x86-64 entries to columns of values, on whole arrays at once.

Everything follows from the table of fields; only what is not a single bit is written out here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.formats.field import KINDS, LEAVES, STATES, Shape
from pte_magic.formats.x86_64 import fields
from pte_magic.walkers.entries import LEVELS

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from pte_magic.formats.field import Field
    from pte_magic.formats.kernel import Kernel

CACHES = ("WB", "WC", "UC-", "UC", "WP", "WT")
"""Categories of the ``cache`` column: write-back, write-combining, uncached (MTRR may override), uncached, …"""

# The full PAT (arch/x86/mm/pat/memtype.c): the type that each index selects, as an index into CACHES.
_PAT = np.array([0, 1, 2, 3, 0, 4, 2, 5], np.int8)
_PTE = LEVELS.index("pte")
_FRAME = 0x000F_FFFF_FFFF_F000
# Of a huge leaf: the address bits of its size. Those below are zero, or ones where they are inverted with the others.
_BIG_FRAMES = {"pmd": np.uint64(0x000F_FFFF_FFE0_0000), "pud": np.uint64(0x000F_FFFF_C000_0000)}
_ONE, _TWELVE = np.uint8(1), np.uint64(12)
_PFN_SWAPS = ("migration", "device", "hwpoison")


class Column(NamedTuple):
    """Values, and which of them are missing (None: none is)."""

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None = None


@functools.cache
def _shape_table() -> NDArray[np.uint8]:
    """Return the shape by present | pse << 1 | upper level << 2 | protnone << 3 | nonzero << 4."""
    table = np.zeros(32, np.uint8)
    for key in range(32):
        present, pse, upper, protnone, nonzero = (key >> i & 1 for i in range(5))
        if not nonzero:
            shape = Shape.EMPTY
        elif present:
            shape = Shape.PAGE if not upper else Shape.HUGE if pse else Shape.TABLE
        elif protnone:
            shape = Shape.PROTNONE_HUGE if upper else Shape.PROTNONE
        else:
            shape = Shape.INVALID_HUGE if upper and pse else Shape.SWAP
        table[key] = shape
    return table


class _Bit(NamedTuple):
    """How to read the bit of a boolean column: octet of the entry and mask in it."""

    name: str
    octet: int
    mask: np.uint8
    swap_octet: int  # of swap entries, if they have it elsewhere; else -1
    swap_mask: np.uint8
    missing: NDArray[np.bool_] | None  # by shape; None if every entry has it


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done to decode entries that have just some shapes."""

    bits: tuple[_Bit, ...]
    frame_bits: NDArray[np.uint64] | np.uint64 | None  # by shape, or for all; None: no frames
    no_frame: NDArray[np.bool_] | None
    inverted: NDArray[np.bool_] | bool  # by shape, or for all
    no_leaf: NDArray[np.bool_] | None
    leaves: bool
    big: bool
    splitting: bool
    swaps: bool


_SMALL = frozenset({Shape.PAGE, Shape.TABLE, Shape.PROTNONE})
_STATE = np.array(
    [STATES.index(name) for name in ("none", "table", "present", "present", "protnone", "protnone", "present", "swap")],
    np.int8,
)
INVERTED = frozenset({Shape.PROTNONE, Shape.PROTNONE_HUGE, Shape.INVALID_HUGE})
"""Shapes of which the frame's bits are inverted, as they are not present: arch/x86/include/asm/pgtable-invert.h."""


@functools.cache
def _plan(kernel: Kernel, there: int) -> _Plan:
    """Return the plan for entries of the shapes whose bits (1 << shape) are set in `there`."""
    present = [shape for shape in Shape if there >> shape & 1]

    def lacking(have: Collection[Shape]) -> NDArray[np.bool_] | None:
        """Return by shape what is missing if only some have it; None if all that are there have it."""
        return None if set(present) <= set(have) else np.array([shape not in have for shape in Shape])

    by_column: dict[str, list[Field]] = {}
    for field in fields(kernel):
        if field.column and field.shapes & set(present):
            by_column.setdefault(field.column, []).append(field)
    bits = []
    for name, found in by_column.items():
        first, last = found[0], found[-1]
        elsewhere = last is not first
        bits.append(
            _Bit(
                name, first.low >> 3, np.uint8(1 << (first.low & 7)),
                last.low >> 3 if elsewhere else -1, np.uint8(1 << (last.low & 7)),
                lacking(frozenset().union(*(field.shapes for field in found))),
            )
        )  # fmt: skip
    framed = LEAVES | {Shape.TABLE}
    masks = np.array([_FRAME & kernel.physical_mask for shape in Shape], np.uint64)
    flips = np.array([shape in INVERTED for shape in Shape])
    only = {int(masks[shape]) for shape in present if shape in framed}
    return _Plan(
        tuple(bits),
        None if not only else np.uint64(only.pop()) if len(only) == 1 else masks,
        lacking(framed),
        bool(flips[present].any()) if flips[present].all() or not flips[present].any() else flips,
        lacking(LEAVES),
        leaves=bool(LEAVES & set(present)),
        big=bool((LEAVES - _SMALL) & set(present)),
        splitting=Shape.INVALID_HUGE in present,
        swaps=Shape.SWAP in present,
    )


_BIG = np.array([shape in LEAVES - _SMALL for shape in Shape])


def shapes(entry: NDArray[np.uint64], level: NDArray[np.int8], byte: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the `Shape` of each entry, ``uint8[n]``; `byte` are its lowest two octets."""
    present, upper = byte[0] & 1, level != _PTE
    if not upper.any() and present.all():
        return np.full(len(entry), Shape.PAGE, np.uint8)
    key = present | (byte[0] >> 6) & 2 | upper.view(np.uint8) << 2 | (byte[1] & 1) << 3
    key |= (entry != 0).view(np.uint8) << 4
    found: NDArray[np.uint8] = _shape_table()[key]
    return found


def shape(entry: NDArray[np.uint64], level: NDArray[np.int8]) -> Shape:
    """Return how the bits of the first entry are to be read."""
    octets = entry.view(np.uint8).reshape(-1, 8)
    return Shape(int(shapes(entry, level, [octets[:, 0], octets[:, 1]])[0]))


def _frames(
    entry: NDArray[np.uint64], level: NDArray[np.int8], shape: NDArray[np.uint8], plan: _Plan
) -> NDArray[np.uint64]:
    """Return the page frame number of each entry that has one, ``uint64[n]``."""
    if isinstance(plan.inverted, bool):
        upright = ~entry if plan.inverted else entry
    else:
        upright = np.where(plan.inverted[shape], ~entry, entry)
    bits: NDArray[np.uint64] = upright & (
        plan.frame_bits[shape] if isinstance(plan.frame_bits, np.ndarray) else np.uint64(plan.frame_bits or 0)
    )
    if plan.big:
        big = _BIG[shape]
        for name, mask in _BIG_FRAMES.items():
            bits[big & (level == LEVELS.index(name))] &= mask
    bits >>= _TWELVE
    return bits


def columns(entry: NDArray[np.uint64], level: NDArray[np.int8], kernel: Kernel) -> dict[str, Column]:
    """Decode entries.

    Args:
        entry: Raw entries, ``uint64[n]``, contiguous.
        level: Where each was found, ``int8[n]``, indices into ``LEVELS``.
        kernel: What the kernel that they come from does with the bits.

    Returns:
        The columns that these entries have, by name. A column that none of them has is left out.

    """
    if not len(entry):
        return {}
    octets = entry.view(np.uint8).reshape(-1, 8)
    byte = [octets[:, i].copy() for i in (0, 1)] + [octets[:, i] for i in range(2, 8)]
    shape = shapes(entry, level, byte)
    plan = _plan(kernel, int(np.bitwise_or.reduce(_ONE << shape)))
    found = {"entry": Column(entry), "state": Column(_STATE[shape])}
    for name, octet, mask, swap_octet, swap_mask, missing in plan.bits:
        values = byte[octet] & mask != 0
        if swap_octet >= 0:
            values = np.where(shape == Shape.SWAP, byte[swap_octet] & swap_mask != 0, values)
        found[name] = Column(values, missing if missing is None else missing[shape])
    if plan.frame_bits is not None and not kernel.frames_hidden:
        no_frame = plan.no_frame if plan.no_frame is None else plan.no_frame[shape]
        found["pfn"] = Column(_frames(entry, level, shape, plan), no_frame)
    if plan.leaves:
        no_leaf = plan.no_leaf if plan.no_leaf is None else plan.no_leaf[shape]
        pat = byte[0] >> 5
        if plan.big:
            pat = np.where(_BIG[shape], byte[1] >> 2, pat)
        found["cache"] = Column(_PAT[(byte[0] >> 3) & 3 | pat & 4], no_leaf)
        found["pkey"] = Column((byte[7] >> 3) & 15, no_leaf)
    if plan.splitting:
        found["kind"] = Column(np.where(shape == Shape.INVALID_HUGE, np.int8(KINDS.index("splitting")), np.int8(-1)))
    if plan.swaps:
        _decode_swap(found, entry, np.flatnonzero(shape == Shape.SWAP), kernel)
    return found


def _decode_swap(found: dict[str, Column], entry: NDArray[np.uint64], rows: NDArray[np.intp], kernel: Kernel) -> None:
    """Decode the swap entries among others (``__swp_type()``, ``__swp_offset()`` of asm/pgtable_64.h)."""
    swaps = entry[rows]
    kind_of = (swaps >> np.uint64(59)).astype(np.uint8)
    offset = (~swaps << np.uint64(5)) >> np.uint64(14)
    part = {"swap_type": Column(kind_of), "swap_offset": Column(offset)}
    swap_columns(part, kind_of, offset, kernel)
    marker = _marks(kernel)[kind_of]
    if kernel.frames_hidden:
        del part["pfn"]
        part["swap_offset"] = Column(offset, ~marker)
        part["swap_type"] = Column(kind_of, part["state"].values == STATES.index("swap"))
    if marker.any():  # a marker holds the bit in its offset
        found["uffd_wp"].values[rows[marker]] = offset[marker] & np.uint64(1) == 1
    scatter(found, part, rows, len(entry))


def scatter(found: dict[str, Column], part: dict[str, Column], rows: NDArray[np.intp], n: int) -> None:
    """Lay the columns of some rows into those of all `n`."""
    for name, column in part.items():
        if name not in found:
            codes = name in ("state", "kind")
            whole = np.full(n, -1, np.int8) if codes else np.zeros(n, column.values.dtype)
            found[name] = Column(whole, None if codes else np.ones(n, np.bool_))
        values, missing = found[name]
        values[rows] = column.values
        if missing is not None:
            missing[rows] = False if column.missing is None else column.missing


@functools.cache
def _marks(kernel: Kernel) -> NDArray[np.bool_]:
    """Return which types of swap entries say in the bits of their offset what they mark."""
    return np.array([found == ("marker", None) for found in kernel.swap.types])


def swap_columns(
    found: dict[str, Column], kind_of: NDArray[np.uint8], offset: NDArray[np.uint64], kernel: Kernel
) -> None:
    """Add what type and offset of swap entries say: ``state``, ``kind`` and ``pfn``."""
    swap = kernel.swap
    state = np.array([STATES.index(state) for state, _ in swap.types], np.int8)[kind_of]
    kind = np.array([KINDS.index(kind) if kind else -1 for _, kind in swap.types], np.int8)[kind_of]
    marker = _marks(kernel)[kind_of]
    if marker.any():
        for bit, name in enumerate(swap.marker_bits):
            kind[marker & (offset >> np.uint64(bit) & np.uint64(1) == 1)] = KINDS.index(name)
    found["state"], found["kind"] = Column(state), Column(kind)
    no_frame = ~np.isin(state, [STATES.index(name) for name in _PFN_SWAPS])
    found["pfn"] = Column(np.where(no_frame, np.uint64(0), offset & np.uint64((1 << swap.pfn_bits) - 1)), no_frame)
