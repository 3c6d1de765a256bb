"""An entry as a picture as in the manuals: its bits with their numbers, and the fields below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.formats.describe import READERS
from pte_magic.views import entry_text, svg_document
from pte_magic.views.entry_drawing import drawn, image
from pte_magic.views.entry_pieces import pieces
from pte_magic.views.entry_text import headline, sources
from pte_magic.views.html_table import cell, column_heads, row, row_head, table
from pte_magic.views.markup import escape

if TYPE_CHECKING:
    from pte_magic.formats.describe import Description, Part
    from pte_magic.views.entry_pieces import Piece
    from pte_magic.views.svg_document import Drawing

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
        picture += image(entry, differ)
    return f'<p class="pte-says">{head}</p>{picture}{_table(entry, differ)}{_sources(entry)}'


def drawings(entry: Description, *, differ: int = 0) -> list[Drawing]:
    """Return an entry as drawings: a headline, its bits, a line per field, and the sources."""
    head, *fields = entry_text.text(entry, differ=differ).splitlines()
    return [svg_document.words([head]), drawn(entry, differ), svg_document.words(fields)]


def _row(entry: Description, high: int, differ: int, *, editable: bool) -> str:
    low = high - _ROW + 1
    numbers, bits, names = [], [], []
    for piece in pieces(entry.parts, high, low):
        part = piece.part
        for bit in range(piece.high, piece.low - 1, -1):
            look = _look(part, is_set=bool(entry.entry >> bit & 1), differs=bool(differ >> bit & 1))
            numbers.append(cell(str(bit)))
            bits.append(cell(_bit(entry.entry, part, bit, editable), f'class="{look}" title="{_hint(part)}"'))
        span = piece.high - piece.low + 1
        name = f"<span>{escape(piece.label)}</span>" if piece.label else ""
        look = f"pte-{part.by}{_edges(piece)}{' pte-narrow' if span * 2 < len(piece.label) else ''}"
        names.append(cell(name, f'class="{look}" colspan="{span}" title="{_hint(part)}"'))
    lines = (("number", numbers), ("bit", bits), ("name", names))
    body = (row(*cells, attributes=f'class="pte-{name}"') for name, cells in lines)
    return table(body, attributes='role="presentation"')


def _edges(piece: Piece) -> str:
    """Return classes for the sides at which the field goes on in another line."""
    return ("" if piece.is_first else " pte-goes-on-left") + ("" if piece.is_last else " pte-goes-on-right")


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
