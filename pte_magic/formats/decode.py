"""Raw entries decoded to columns of values, whole arrays at once.

All of it follows from the bit fields of a format, by `decoding_plan`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.formats.decoding_plan import (
    NOT_PRESENT,
    SHADOW_STACK,
    SPLITTING,
    STATE,
    blocks,
    moved,
    plan,
    shape_table,
    sizes,
)
from pte_magic.formats.field import BIG, HARD, KINDS, LEAVES, STATES, Shape
from pte_magic.formats.kernel import fields
from pte_magic.formats.partial_decoding_plan import narrowed
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.formats.decoding_plan import BitColumn, DerivedColumn, Pick, PickColumn, Plan
    from pte_magic.formats.kernel import Kernel

_PTE = LEVELS.index("pte")
_PFN_SWAPS = ("migration", "device", "hwpoison")
_BIG = np.array([shape in BIG for shape in Shape])
_LEAF = np.array([shape in LEAVES for shape in Shape])
_HARD = np.array([shape in HARD for shape in Shape])


class Column(NamedTuple):
    """Values, and a mask of the missing ones (None: no value is missing)."""

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None = None


def octets(entry: NDArray[np.uint64], kernel: Kernel) -> list[NDArray[np.uint8]]:
    """Return the octets of entries, the lowest first; those that are needed several times are contiguous in memory."""
    often = shape_table(kernel).octets
    return [octet.copy() if i in often else octet for i, octet in enumerate(_octets(entry))]


def _octets(entry: NDArray[np.uint64]) -> list[NDArray[np.uint8]]:
    return list(entry.view(np.uint8).reshape(-1, 8).T)


def shapes(
    entry: NDArray[np.uint64], level: NDArray[np.int8], byte: list[NDArray[np.uint8]] | None, kernel: Kernel
) -> NDArray[np.uint8]:
    """Return the `Shape` of each entry, ``uint8[n]``, read-only; `byte` are its octets, if the caller has them."""
    upper = level != _PTE
    if not upper.any() and np.bitwise_and.reduce(entry) & np.uint64(1):
        return np.broadcast_to(np.uint8(Shape.PAGE), len(entry))
    table, byte = shape_table(kernel), byte or octets(entry, kernel)
    key = table.picks[0].of(byte)
    for pick in table.picks[1:]:
        key |= pick.of(byte)
    key |= upper.view(np.uint8) * np.uint8(table.upper)
    key |= (entry != 0).view(np.uint8) * np.uint8(table.nonzero)
    if table.top:
        key |= (level == 0).view(np.uint8) * np.uint8(table.top)
    found: NDArray[np.uint8] = table.shapes[key]
    return found


def shape(entry: NDArray[np.uint64], level: NDArray[np.int8], kernel: Kernel) -> Shape:
    """Return the shape of the first entry."""
    return Shape(int(shapes(entry, level, None, kernel)[0]))


def _frames(
    entry: NDArray[np.uint64], level: NDArray[np.int8], shape: NDArray[np.uint8], plan: Plan, kernel: Kernel
) -> NDArray[np.uint64]:
    """Return the page frame number of each entry that has one, ``uint64[n]``."""
    if isinstance(plan.inverted, bool):
        upright = ~entry if plan.inverted else entry
    else:
        upright = np.where(plan.inverted[shape], ~entry, entry)
    bits: NDArray[np.uint64] = upright & (
        plan.frame_bits[shape] if isinstance(plan.frame_bits, np.ndarray) else np.uint64(plan.frame_bits or 0)
    )
    bits = _whole(bits, kernel)
    if plan.big:
        rows = np.flatnonzero(_BIG[shape])
        bits[rows] &= -sizes(kernel)[level[rows]]
    bits >>= np.uint64(kernel.format.page_shift)
    return bits


def _whole(bits: NDArray[np.uint64], kernel: Kernel) -> NDArray[np.uint64]:
    """Move bits of page frame numbers to their place in the address."""
    for mask, left in moved(kernel):
        bits = bits & ~mask | (bits & mask) << left
    return bits


def columns(
    entry: NDArray[np.uint64],
    level: NDArray[np.int8],
    kernel: Kernel,
    names: frozenset[str] | None = None,
    shape: NDArray[np.uint8] | None = None,
) -> dict[str, Column]:
    """Decode entries.

    Args:
        entry: Raw entries, ``uint64[n]``, contiguous.
        level: Their levels, ``int8[n]``, indices into ``LEVELS``.
        kernel: The kernel that they come from.
        names: The columns to decode; all if None.
        shape: The `shapes` of the entries, if they are known.

    Returns:
        The columns of these entries, by name. A column that no entry has is left out.

    """
    if not len(entry):
        return {}
    byte = octets(entry, kernel) if names is None else _octets(entry)
    if shape is None:
        shape = shapes(entry, level, byte, kernel)
    there = int(np.bitwise_or.reduce(np.uint16(1) << (shape if shape.strides[0] else shape[:1])))
    todo = plan(kernel, there) if names is None else narrowed(kernel, there, names)
    found = {"entry": Column(entry)}
    if names is None or "state" in names:
        found["state"] = Column(by_shape(STATE, shape))
    for bit in todo.bits:
        found[bit.name] = _bit(bit, byte, shape)
    for derived in todo.derived:
        found[derived.name] = _derived(derived, entry, shape)
    if todo.frame_bits is not None and not kernel.frames_hidden:
        no_frame = todo.no_frame if todo.no_frame is None else todo.no_frame[shape]
        found["pfn"] = Column(_frames(entry, level, shape, todo, kernel), no_frame)
    for picked in todo.picked:
        found[picked.name] = _picked(picked, entry, byte, shape, todo)
    if todo.leaves and kernel.format.contiguous:
        joined = found["cont"].values
        found["mapped"] = Column(np.where(joined, blocks(kernel)[level], sizes(kernel)[level]), ~_LEAF[shape])
    _tell_special(found, entry, shape, byte, todo, kernel)
    return found if names is None else {name: found[name] for name in found if name in names}


def by_shape(values: NDArray[Any], shape: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the value of each entry's shape."""
    return values.take(shape) if shape.strides[0] else np.full(len(shape), values[shape[0]])


def _tell_special(  # noqa: PLR0913, PLR0917  (what `columns` has found out)
    found: dict[str, Column],
    entry: NDArray[np.uint64],
    shape: NDArray[np.uint8],
    byte: list[NDArray[np.uint8]],
    todo: Plan,
    kernel: Kernel,
) -> None:
    """Add the columns that only some entries have: kinds, and those of entries that are not present."""
    if todo.splitting:
        found["kind"] = Column(np.where(shape == Shape.INVALID_HUGE, SPLITTING, np.int8(-1)))
    if todo.swaps:
        _decode_swap(found, entry, np.flatnonzero(shape == Shape.SWAP), kernel)
    if todo.shadow_stack:
        stacks = functools.reduce(np.logical_and, [byte[i] & mask == value for i, mask, value in todo.shadow_stack])
        rows = np.flatnonzero(stacks)  # few, or none
        rows = rows[_HARD[shape[rows]]]
        if len(rows):
            scatter(found, {"kind": Column(np.full(len(rows), SHADOW_STACK, np.int8))}, rows, len(entry))
    if todo.not_present:
        _decode_not_present(found, entry, np.flatnonzero(shape == Shape.NOT_PRESENT), kernel)


def _bit(column: BitColumn, byte: list[NDArray[np.uint8]], shape: NDArray[np.uint8]) -> Column:
    values = byte[column.bit.octet] & column.bit.mask != 0
    for octet, mask, shapes in column.elsewhere:
        is_there = functools.reduce(np.logical_or, [shape == one for one in shapes])
        values = np.where(is_there, byte[octet] & mask != 0, values)
    return Column(values, column.missing if column.missing is None else column.missing[shape])


def _derived(column: DerivedColumn, entry: NDArray[np.uint64], shape: NDArray[np.uint8]) -> Column:
    values = functools.reduce(np.logical_or, [entry & mask == value for mask, value in column.terms])
    return Column(values, column.missing if column.missing is None else column.missing[shape])


def _picked(
    column: PickColumn, entry: NDArray[np.uint64], byte: list[NDArray[np.uint8]], shape: NDArray[np.uint8], todo: Plan
) -> Column:
    if not shape.strides[0] and not _differ(entry, column.small):  # all pages, of one memory type
        byte, shape = [octet[:1] for octet in byte], shape[:1]
    number = functools.reduce(np.bitwise_or, [pick.of(byte) for pick in column.small])
    if todo.big and column.big != column.small:
        other = functools.reduce(np.bitwise_or, [pick.of(byte) for pick in column.big])
        number = np.where(_BIG[shape], other, number)
    missing = column.missing if column.missing is None else column.missing[shape]
    found = number if column.values is None else column.values[number]
    return Column(found if len(found) == len(entry) else np.full(len(entry), found[0]), missing)


def _differ(entry: NDArray[np.uint64], picks: tuple[Pick, ...]) -> bool:
    """Tell whether entries differ in some bits."""
    differ = int(np.bitwise_or.reduce(entry) ^ np.bitwise_and.reduce(entry))
    return any(pick.of([np.array([octet], np.uint8) for octet in differ.to_bytes(8, "little")])[0] for pick in picks)


class Swap(NamedTuple):
    """The places of type and offset in swap entries: bits from the lowest up, and the mask that inverts the offset."""

    type: np.uint64
    offset: np.uint64
    type_mask: np.uint64
    offset_mask: np.uint64
    flips: np.uint64


@functools.cache
def swap(kernel: Kernel) -> Swap:
    """Return the places of type and offset in a kernel's swap entries (``__swp_type()``, ``__swp_offset()``)."""
    found = {field.name: field for field in fields(kernel) if Shape.SWAP in field.shapes}
    kind, offset = found["type"], found["offset"]
    flips = ~np.uint64(0) if kernel.format.swap_inverted else np.uint64(0)
    masks = np.uint64(kind.mask >> kind.low), np.uint64(offset.mask >> offset.low)
    return Swap(np.uint64(kind.low), np.uint64(offset.low), *masks, flips)


def _decode_swap(found: dict[str, Column], entry: NDArray[np.uint64], rows: NDArray[np.intp], kernel: Kernel) -> None:
    swaps, where = entry[rows], swap(kernel)
    kind_of = (swaps >> where.type & where.type_mask).astype(np.uint8)
    offset = (swaps ^ where.flips) >> where.offset & where.offset_mask
    part = {"swap_type": Column(kind_of), "swap_offset": Column(offset)}
    swap_columns(part, kind_of, offset, kernel)
    marker = _marks(kernel)[kind_of]
    if kernel.frames_hidden:
        del part["pfn"]
        part["swap_offset"] = Column(offset, ~marker)
        part["swap_type"] = Column(kind_of, part["state"].values == STATES.index("swap"))
    if marker.any() and "uffd_wp" in found:  # a marker holds the bit in its offset
        found["uffd_wp"].values[rows[marker]] = offset[marker] & np.uint64(1) == 1
    scatter(found, part, rows, len(entry))


def scatter(found: dict[str, Column], part: dict[str, Column], rows: NDArray[np.intp], n: int) -> None:
    """Put the columns of some rows into the columns of all `n` rows."""
    for name, column in part.items():
        if name not in found:
            codes = name in ("state", "kind")
            whole = np.full(n, -1, np.int8) if codes else np.zeros(n, column.values.dtype)
            found[name] = Column(whole, None if codes else np.ones(n, np.bool_))
        values, missing = found[name]
        values[rows] = column.values
        if missing is not None:
            missing[rows] = False if column.missing is None else column.missing


def _decode_not_present(
    found: dict[str, Column], entry: NDArray[np.uint64], rows: NDArray[np.intp], kernel: Kernel
) -> None:
    """Add the page of the kernel's own for entries without a layout of Linux, if it may have made it not present."""
    part = {"kind": Column(np.full(len(rows), NOT_PRESENT, np.int8))}
    if not kernel.frames_hidden:
        odd = entry[rows]
        bits, highest = np.uint64(kernel.physical_mask), np.uint64(1 << kernel.physical_mask.bit_length() - 1)
        upright = np.where(odd & highest != 0, ~odd, odd) if kernel.format.inverted else odd
        part["pfn"] = Column(_whole(upright & bits, kernel) >> np.uint64(kernel.format.page_shift))
    scatter(found, part, rows, len(entry))


@functools.cache
def _marks(kernel: Kernel) -> NDArray[np.bool_]:
    """Return the types of swap entries whose offset has the kind of marker in its bits."""
    return np.array([found == ("marker", None) for found in kernel.swap.types])


def swap_columns(
    found: dict[str, Column], kind_of: NDArray[np.uint8], offset: NDArray[np.uint64], kernel: Kernel
) -> None:
    """Add ``state``, ``kind`` and ``pfn``, by type and offset of swap entries."""
    swap = kernel.swap
    state = np.array([STATES.index(state) if state else -1 for state, _ in swap.types], np.int8)[kind_of]
    kind = np.array([KINDS.index(kind) if kind else -1 for _, kind in swap.types], np.int8)[kind_of]
    marker = _marks(kernel)[kind_of]
    if marker.any():
        for bit, name in enumerate(swap.marker_bits):
            kind[marker & (offset >> np.uint64(bit) & np.uint64(1) == 1)] = KINDS.index(name)
    found["state"], found["kind"] = Column(state), Column(kind)
    no_frame = ~np.isin(state, [STATES.index(name) for name in _PFN_SWAPS])
    found["pfn"] = Column(np.where(no_frame, np.uint64(0), offset & np.uint64((1 << swap.pfn_bits) - 1)), no_frame)
