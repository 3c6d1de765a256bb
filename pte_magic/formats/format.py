"""`Format`: a format of page-table entries as data: its bit fields, and all else that `decode` needs."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.linux import geometry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pte_magic.formats.field import Field, Shape


class Rule(NamedTuple):
    """How to tell the shape of an entry that is not empty; the first rule that holds tells it.

    Attributes:
        where: The levels at which it holds: ``"last"``, ``"upper"`` for all others, ``"top"`` or ``"any"``.
        mask: The bits that tell.
        value: What they hold.
        shape: What the entry is then.
        needs: The feature of the kernel without which the rule does not hold, if any.

    """

    where: str
    mask: int
    value: int
    shape: Shape
    needs: str | None = None


class Derived(NamedTuple):
    """A boolean column that is not one bit of an entry: true if the bits of any of its masks have the value beside it.

    Attributes:
        column: Its name.
        shapes: The entries that have it.
        terms: Masks and values.
        needs: The feature of the kernel without which it is not derived like that, if any.
        unless: The feature with which it is not, if any.

    """

    column: str
    shapes: frozenset[Shape]
    terms: tuple[tuple[int, int], ...]
    needs: str | None = None
    unless: str | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Format:
    """A format of page-table entries.

    In every format, bit 0 says that the hardware translates through the entry; fields named ``type`` and ``offset``
    are those of swap entries.

    Attributes:
        name: As of `Entries`, a key of `geometry.GEOMETRIES`.
        fields: Its bit fields; those of one shape do not overlap, for any kernel.
        rules: How shapes are told from each other.
        columns: Names of the boolean columns that its entries may fill, in a frame's order.
        caches: What each value of the bits of the fields in `cache_fields`, the first lowest, selects, if anything.
        cache_fields: Their names.
        physmem_bits: ``MAX_PHYSMEM_BITS`` by feature of the kernel, of which the first that it has counts.
        derived: Columns that are not just a bit.
        inverted: Shapes of which the frame's bits are inverted.
        swap_inverted: Whether the offset of swap entries is inverted.
        contiguous: How many entries side by side may be one translation for the hardware, if they say so; of the last
            level first, then of those above it.
        bits: Of an entry.
        numbers: Names of the columns of numbers that its entries may fill, beside those that all formats have.
        optional: Columns that a kernel's frames have only if it has a feature.
        shadow_stack: Of the page of a shadow stack that the hardware translates, bits and what they hold; the kernel
            has such pages if it has the feature ``shadow_stack``.
        memory_bits: How wide the addresses of all machines' memory are, at most; `bits` if nobody knows.

    """

    name: str
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...]
    columns: tuple[str, ...]
    caches: tuple[str | None, ...]
    cache_fields: frozenset[str]
    physmem_bits: tuple[tuple[str | None, int], ...]
    derived: tuple[Derived, ...] = ()
    inverted: frozenset[Shape] = frozenset()
    swap_inverted: bool = False
    contiguous: tuple[int, ...] = ()
    bits: int = 64
    numbers: tuple[str, ...] = ()
    optional: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shadow_stack: tuple[int, int] | None = None
    memory_bits: int = 64

    def __repr__(self) -> str:
        return self.name

    @property
    def page_shift(self) -> int:
        """How many bits of an address are the offset in the smallest page."""
        return geometry.GEOMETRIES[self.name].page_shift

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of all levels that its tables may have, top down."""
        return geometry.names(geometry.GEOMETRIES[self.name].most)


@functools.cache
def frame_mask(of: Format, shape: Shape) -> int:
    """Return the bits of a page frame in entries of a shape, encrypted memory's bit among them."""
    return sum(field.mask for field in of.fields if field.address is not None and shape in field.shapes)
