"""The plan to decode entries of a kernel: everything that follows from the tables, computed once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.formats.field import BIG, HARD, KINDS, LEAVES, STATES, TABLES, Shape
from pte_magic.formats.format import frame_mask
from pte_magic.formats.kernel import fields
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from pte_magic.formats.field import Field
    from pte_magic.formats.format import Rule
    from pte_magic.formats.kernel import Kernel

CACHES = (
    *("WB", "WC", "UC-", "UC", "WP", "WT"),
    *("Normal", "Normal-Tagged", "Normal-NC", "Device-nGnRnE", "Device-nGnRE"),
)
"""Categories of the ``cache`` column: of x86 write-back, write-combining, uncached (MTRR may override), uncached, …

Then arm64's.
"""

STATE = np.array(
    [
        STATES.index(name)
        for name in ("none", "table", "present", "present", "protnone", "protnone", "present", "swap", "table")
    ]
    + [-1],
    np.int8,
)
"""The state of each `Shape`; -1 where no state is known."""


class Pick(NamedTuple):
    """Bits of one octet of an entry, moved to their place: right by `right`, left if that is negative."""

    octet: int
    right: int
    mask: int

    def of(self, byte: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Return them, ``uint8[n]``; `byte` are the octets of entries."""
        found = byte[self.octet]
        if self.right > 0:
            found = found >> np.uint8(self.right)
        elif self.right:
            found = found << np.uint8(-self.right)
        return found & np.uint8(self.mask)


def pick(low: int, width: int, at: int = 0) -> Pick:
    """Return how to get at a field that lies in one octet, so that its lowest bit is bit `at`."""
    return Pick(low >> 3, (low & 7) - at, (1 << width) - 1 << at)


class Bit(NamedTuple):
    """A bit in the octets of an entry, for entries of some shapes."""

    octet: int
    mask: np.uint8
    shapes: frozenset[Shape]


class BitColumn(NamedTuple):
    """The bit of a boolean column: its place, and its places in entries of other shapes."""

    name: str
    bit: Bit
    elsewhere: tuple[Bit, ...]
    missing: NDArray[np.bool_] | None  # by shape; None if every entry has it


class DerivedColumn(NamedTuple):
    """A derived boolean column: it is true if any of the masks has its value."""

    name: str
    terms: tuple[tuple[np.uint64, np.uint64], ...]
    missing: NDArray[np.bool_] | None  # as above


class PickColumn(NamedTuple):
    """A number made of the bits of small and of big leaves; ``values`` are its meanings."""

    name: str
    small: tuple[Pick, ...]
    big: tuple[Pick, ...]
    values: NDArray[np.int8] | None
    missing: NDArray[np.bool_] | None  # as above


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps to decode entries that have only some shapes."""

    bits: tuple[BitColumn, ...]
    derived: tuple[DerivedColumn, ...]
    picked: tuple[PickColumn, ...]
    frame_bits: NDArray[np.uint64] | np.uint64 | None  # by shape, or for all; None: no frames
    no_frame: NDArray[np.bool_] | None
    inverted: NDArray[np.bool_] | bool  # by shape, or for all
    leaves: bool
    big: bool
    splitting: bool
    swaps: bool
    not_present: bool
    shadow_stack: tuple[
        tuple[int, np.uint8, np.uint8], ...
    ]  # octets, their bits and what these hold; none: no such pages


def lacking(present: Collection[Shape], have: Collection[Shape]) -> NDArray[np.bool_] | None:
    """Return by shape if a value is missing; None if all present shapes have it."""
    return None if set(present) <= set(have) else np.array([shape not in have for shape in Shape])


@functools.cache
def plan(kernel: Kernel, there: int) -> Plan:
    """Return the plan for entries of the shapes in the mask `there` (1 << shape)."""
    present = frozenset(shape for shape in Shape if there >> shape & 1)
    of = kernel.format
    found = [field for field in fields(kernel) if field.shapes & present]
    framed = LEAVES | TABLES
    masks = np.array([frame_mask(of, shape) & ~kernel.encryption_mask for shape in Shape], np.uint64)
    flips = np.array([shape in of.inverted for shape in Shape])
    some = [shape for shape in Shape if shape in present]
    only = {int(masks[shape]) for shape in present if shape in framed}
    return Plan(
        tuple(_bit_columns(found, present)),
        tuple(
            DerivedColumn(
                one.column,
                tuple((np.uint64(mask), np.uint64(value)) for mask, value in one.terms),
                lacking(present, one.shapes),
            )
            for one in of.derived
            if one.shapes & present
            and (one.needs is None or one.needs in kernel.features)
            and one.unless not in kernel.features
        ),
        tuple(_pick_columns(kernel, found, present)),
        None if not only else np.uint64(only.pop()) if len(only) == 1 else masks,
        lacking(present, framed),
        bool(flips[some].any()) if flips[some].all() or not flips[some].any() else flips,
        leaves=bool(LEAVES & present),
        big=bool(BIG & present),
        splitting=Shape.INVALID_HUGE in present,
        swaps=Shape.SWAP in present,
        not_present=Shape.NOT_PRESENT in present,
        shadow_stack=_shadow_stack(kernel) if present & HARD else (),
    )


def _shadow_stack(kernel: Kernel) -> tuple[tuple[int, np.uint8, np.uint8], ...]:
    if kernel.format.shadow_stack is None or "shadow_stack" not in kernel.features:
        return ()
    mask, value = (bits.to_bytes(8, "little") for bits in kernel.format.shadow_stack)
    return tuple((i, np.uint8(mask[i]), np.uint8(value[i])) for i in range(8) if mask[i])


def _bit_columns(found: list[Field], present: frozenset[Shape]) -> Iterable[BitColumn]:
    by_column: dict[str, list[Field]] = {}
    for field in found:
        if field.column and field.width == 1:
            by_column.setdefault(field.column, []).append(field)
    for name, those in by_column.items():
        places: dict[int, frozenset[Shape]] = {}
        for field in those:
            places[field.low] = places.get(field.low, frozenset()) | field.shapes
        bits = [Bit(low >> 3, np.uint8(1 << (low & 7)), shapes & present) for low, shapes in places.items()]
        have = frozenset[Shape]().union(*places.values())
        yield BitColumn(name, bits[0], tuple(bits[1:]), lacking(present, have))


def _pick_columns(kernel: Kernel, found: list[Field], present: frozenset[Shape]) -> Iterable[PickColumn]:
    if not LEAVES & present:
        return
    missing = lacking(present, LEAVES)
    names = kernel.format.cache_fields
    values = np.array([-1 if name is None else CACHES.index(name) for name in kernel.format.caches], np.int8)
    small, big = (
        _picks(field for field in fields(kernel) if field.name in names and shape in field.shapes)
        for shape in (Shape.PAGE, Shape.HUGE)
    )
    yield PickColumn("cache", small, big, values, missing)
    for field in found:
        if field.column and field.width > 1:
            whole = _picks([field])
            yield PickColumn(field.column, whole, whole, None, missing)


def _picks(those: Iterable[Field]) -> tuple[Pick, ...]:
    """Return the picks that put fields beside each other, the first one lowest."""
    at, picks, last = 0, [], None
    for field in those:
        if last is not None and last.octet == field.low >> 3 and (field.low & 7) - at == last.right:  # goes on
            picks[-1] = last._replace(mask=last.mask | (1 << field.width) - 1 << at)
        else:
            picks.append(pick(field.low, field.width, at))
        last = picks[-1]
        at += field.width
    return tuple(picks)


class ShapeTable(NamedTuple):
    """The lookup of shapes: the bits that decide, and the shape of each of their combinations.

    Attributes:
        picks: Picks of the bits that decide, the lowest first; they become bits 0, 1, … of a key.
        upper: Bit of the key for entries above the last level.
        top: Bit of the key for entries of the topmost page table; 0 if that does not matter.
        nonzero: Bit of the key for entries that are not empty.
        shapes: The shape by key, ``uint8``.
        octets: Octets that are needed several times.

    """

    picks: tuple[Pick, ...]
    upper: int
    top: int
    nonzero: int
    shapes: NDArray[np.uint8]
    octets: frozenset[int]


@functools.cache
def shape_table(kernel: Kernel) -> ShapeTable:
    """Return the lookup of shapes for a kernel's entries."""
    rules = [rule for rule in kernel.format.rules if rule.needs is None or rule.needs in kernel.features]
    told = 0
    for rule in rules:
        told |= rule.mask
    bits = [bit for bit in range(64) if told >> bit & 1]
    n = len(bits)
    with_top = any(rule.where == "top" for rule in rules)
    upper, nonzero, top = 1 << n, 2 << n, 4 << n if with_top else 0
    table = np.zeros(max(top, nonzero) * 2, np.uint8)
    for key in range(len(table)):
        entry = sum(1 << bit for at, bit in enumerate(bits) if key >> at & 1)
        where = {"any", "upper" if key & upper else "last"} | ({"top"} if key & top else set())
        if key & nonzero:
            table[key] = _first(rules, entry, where)
    picks: list[Pick] = []
    for at, bit in enumerate(bits):
        found = pick(bit, 1, at)
        if picks and picks[-1][:2] == found[:2]:  # beside the one before it: both in one step
            found = found._replace(mask=picks.pop().mask | found.mask)
        picks.append(found)
    return ShapeTable(tuple(picks), upper, top, nonzero, table, frozenset({0, 1, *(found.octet for found in picks)}))


def _first(rules: list[Rule], entry: int, where: set[str]) -> Shape:
    return next(rule.shape for rule in rules if rule.where in where and entry & rule.mask == rule.value)


@functools.cache
def sizes(kernel: Kernel) -> NDArray[np.uint64]:
    """Return the bytes that an entry of each of ``LEVELS`` covers, ``uint64[levels]``; 0 for level -1."""
    return np.array(
        [1 << kernel.shift(level) if level in kernel.format.levels else 0 for level in (*LEVELS, "")], np.uint64
    )


@functools.cache
def blocks(kernel: Kernel) -> NDArray[np.uint64]:
    """Return the bytes of the translation of an entry with the contiguous bit, as `sizes`."""
    found = sizes(kernel).copy()
    for name, count in zip(reversed(kernel.shifts), kernel.format.contiguous, strict=False):
        found[LEVELS.index(name)] *= np.uint64(count)
    return found


@functools.cache
def moved(kernel: Kernel) -> tuple[tuple[np.uint64, np.uint64], ...]:
    """Return the bits of page frame numbers with another place in the address, and the distance to the left."""
    return tuple(
        {
            (np.uint64(field.mask), np.uint64(field.address - field.low))
            for field in kernel.format.fields
            if field.address is not None and field.address != field.low
        }
    )


SPLITTING, NOT_PRESENT, SHADOW_STACK = (
    np.int8(KINDS.index(name)) for name in ("splitting", "not_present", "shadow_stack")
)
