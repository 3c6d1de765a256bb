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
    """A rule for the shape of an entry that is not empty; the first rule that fits decides.

    Attributes:
        where: The levels at which it applies: ``"last"``, ``"upper"`` for all others, ``"top"`` or ``"any"``.
        mask: The bits that decide.
        value: Their value.
        shape: The shape of the entry then.
        needs: The feature of the kernel without which the rule does not apply, if any.

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
        needs: The feature of the kernel that this needs, if any.
        unless: The feature of the kernel with which this does not apply, if any.

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
        name: Its name, as in `Entries`; a key of `geometry.GEOMETRIES`.
        fields: Its bit fields; those of one shape do not overlap, for any kernel.
        rules: The rules for shapes.
        columns: Names of the boolean columns that its entries may fill, in a frame's order.
        caches: The memory type for each value of the bits of `cache_fields`, the first field lowest, if any.
        cache_fields: Names of the fields that select the memory type.
        physmem_bits: ``MAX_PHYSMEM_BITS`` by feature of the kernel; the first feature that it has counts.
        derived: Columns that are not a single bit.
        inverted: Shapes with inverted bits of the page frame number.
        swap_inverted: True if the offset of swap entries is inverted.
        contiguous: The number of neighbouring entries with the contiguous bit that may be one translation for the
            hardware: at the last level, then at those above it.
        bits: The number of bits of an entry.
        numbers: Names of the columns of numbers that its entries may fill, beside those that all formats have.
        optional: Columns that a kernel's frames have only if it has a feature.
        shadow_stack: Bits of a shadow stack's page, and their value; the kernel has such pages if it has the feature
            ``shadow_stack``.
        memory_bits: The most bits of a physical memory address on any host; `bits` if it is not known.

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
        """The number of bits of the offset in the smallest page."""
        return geometry.GEOMETRIES[self.name].page_shift

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of all levels that its page tables may have, top down."""
        return geometry.names(geometry.GEOMETRIES[self.name].most)


@functools.cache
def frame_mask(of: Format, shape: Shape) -> int:
    """Return the bits of the page frame number in entries of a shape, with the bit of memory encryption."""
    return sum(field.mask for field in of.fields if field.address is not None and shape in field.shapes)
