"""An entry as a picture as in the manuals: its bits with their numbers, and the fields below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.formats.describe import READERS
from pte_magic.views.entry_drawing import drawn
from pte_magic.views.entry_text import headline, sources
from pte_magic.views.html_table import cell, column_heads, row, row_head, table
from pte_magic.views.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.formats.describe import Description, Part

_ROW = 16  # bits in a row of the picture; one, two or four rows beside each other, as there is room for


def html(entry: Description, *, differ: int = 0, editable: bool = False) -> str:
    """Return an entry as HTML: a headline, the picture, a table of the fields, and the sources.

    Args:
        entry: The entry.
        differ: Bits to mark.
        editable: Make a button of each bit.

    """
    rows = [_row(entry, high, differ, editable=editable) for high in range(entry.width - 1, 0, -_ROW)]
    halves = "".join(f'<div class="pte-half">{"".join(rows[at : at + 2])}</div>' for at in range(0, len(rows), 2))
    # Readers who cannot see the picture have the table, unless the picture is interactive.
    role = 'role="group" aria-label="bits of the entry"' if editable else 'aria-hidden="true" hidden="hidden"'
    head = escape(headline(entry))
    picture = f'<div class="pte-picture" {role}>{halves}</div>'
    if (
        not editable
    ):  # it is hidden, and the drawing shown, where no style sheet says the opposite; JupyterLab drops hidden=""
        picture += drawn(entry, differ, _pieces)
    return f'<p class="pte-says">{head}</p>{picture}{_table(entry, differ)}{_sources(entry)}'


def _row(entry: Description, high: int, differ: int, *, editable: bool) -> str:
    low = high - _ROW + 1
    pieces = list(_pieces(entry.parts, high, low))
    numbers, bits, names = [], [], []
    for part, top, bottom in pieces:
        for bit in range(top, bottom - 1, -1):
            look = _look(part, is_set=bool(entry.entry >> bit & 1), differs=bool(differ >> bit & 1))
            numbers.append(cell(str(bit)))
            bits.append(cell(_bit(entry.entry, part, bit, editable), f'class="{look}" title="{_hint(part)}"'))
        span = top - bottom + 1
        narrow = " pte-narrow" if span * 2 < len(part.name) else ""
        name = f"<span>{escape(part.name)}</span>" if part.name else ""
        names.append(cell(name, f'class="pte-{part.by}{narrow}" colspan="{span}" title="{_hint(part)}"'))
    lines = (("number", numbers), ("bit", bits), ("name", names))
    body = (row(*cells, attributes=f'class="pte-{name}"') for name, cells in lines)
    return table(body, attributes='role="presentation"')


def _pieces(parts: tuple[Part, ...], high: int, low: int) -> Iterator[tuple[Part, int, int]]:
    """Yield the parts that have bits in a row, with their highest and lowest one there."""
    for part in parts:
        top, bottom = min(high, part.low + part.width - 1), max(low, part.low)
        if top >= bottom:
            yield part, top, bottom


def _look(part: Part, *, is_set: bool, differs: bool) -> str:
    return f"pte-{part.by}{' pte-set' if is_set else ''}{' pte-differs' if differs else ''}"


def _hint(part: Part) -> str:
    """Return the text that appears when the mouse rests on a bit."""
    if not part.name:
        return f"bits {part.bits}: {escape(part.meaning)}" if part.width > 1 else escape(part.meaning)
    return escape(f"{part.name}: {part.meaning} ({READERS[part.by]}; {part.source})")


def _bit(entry: int, part: Part, bit: int, editable: bool) -> str:  # noqa: FBT001  (private)
    value = entry >> bit & 1
    if not editable:
        return str(value)
    name = part.name or "unused"
    label = f"bit {bit}, {name}"
    return (
        f'<button type="button" data-bit="{bit}" aria-pressed="{"true" if value else "false"}" '
        f'aria-label="{label}" tabindex="-1">{value}</button>'
    )


def _table(entry: Description, differ: int) -> str:
    rows = []
    for part in entry.parts:
        differs = differ >> part.low & (1 << part.width) - 1
        value = f"{part.value:#x}" if part.width > 1 else str(part.value)
        says = f": {part.says}" if part.width > 1 and part.says and part.says != str(part.value) else ""
        mark = ' <span class="pte-differs">changed</span>' if differs else ""
        cells = (
            row_head(part.bits, 'class="pte-mono"'),
            cell(f"<code>{escape(part.name) or '-'}</code>"),
            cell(f'<span class="pte-mono">{value}</span>{escape(says)}{mark}'),
            cell(escape(part.meaning)),
            cell(READERS[part.by], f'class="pte-by pte-{part.by}"'),
        )
        rows.append(row(*cells))
    return table(rows, row(column_heads(("bits", "field", "value", "meaning", "read by"))), 'class="pte-fields"')


def _sources(entry: Description) -> str:
    lines = (
        f"{escape(source)}: <code>{', '.join(map(escape, names))}</code>" for source, names in sources(entry).items()
    )
    return f'<p class="pte-sources">{"<br>".join(lines)}</p>'
