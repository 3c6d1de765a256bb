"""The pieces of an entry's fields in lines of bits: a field that goes on in the next line is still one field."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.formats.describe import Part

_LETTERS = 2.75  # in the width of a bit


class Piece(NamedTuple):
    """The bits of a field in one line.

    Attributes:
        part: The field.
        high: Its highest bit in this line.
        low: Its lowest bit in this line.
        label: The text below these bits: the field's name and, if there is room, its value. Only the widest piece of a
            field has it.

    """

    part: Part
    high: int
    low: int
    label: str

    @property
    def is_first(self) -> bool:
        """True if the field begins here."""
        return self.high == self.part.low + self.part.width - 1

    @property
    def is_last(self) -> bool:
        """True if the field ends here."""
        return self.low == self.part.low


def pieces(parts: tuple[Part, ...], high: int, low: int) -> Iterator[Piece]:
    """Yield the pieces in a line, which has the bits from `high` down to `low`, as all lines have so many."""
    bits = high - low + 1
    for part in parts:
        end = part.low + part.width - 1
        lines = [(min(end, at + bits - 1), max(part.low, at)) for at in range(part.low // bits * bits, end + 1, bits)]
        widest = max(reversed(lines), key=lambda line: line[0] - line[1])
        for line in lines:
            if line[0] <= high and line[1] >= low:
                yield Piece(part, *line, _label(part, line[0] - line[1] + 1) if line == widest else "")


def _label(part: Part, bits: int) -> str:
    whole = f"{part.name} {part.value:#x}"
    return whole if part.name and part.width > 1 and len(whole) <= bits * _LETTERS else part.name
