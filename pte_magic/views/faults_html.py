"""Page faults as HTML: a sentence, the source with the heat of its lines, the variables, and a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.views import html_table, palette, svg_image
from pte_magic.views.faults_shown import bytes_or_nothing, time_or_nothing
from pte_magic.views.markup import escape, scrolled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.views.faults_shown import LineRow, MemoryRow, Shown

_BAR, _HEIGHT = 80, 12  # pixels of the bar of a line
_LOOK = palette.STATES["swap"]
_CODE = 'style="text-align: left; white-space: pre; font-family: var(--jp-code-font-family, ui-monospace, monospace)"'
_LEFT = 'style="text-align: left"'
_NARROWEST = 'style="min-width: 40px" '
_HEAT = 0.55  # opacity of the hottest line
_ORANGE = "217, 119, 6"  # as --pte-orange
_MOST_VARIABLES = 12


def html(shown: Shown) -> str:
    """Return the display as HTML."""
    greatest = max((row.faults for source in shown.sources for row in source.rows), default=0)
    parts = [f"<p><b>{escape(shown.sentence)}</b></p>"]
    parts += [_source(source.title, source.rows, greatest, shown.knows) for source in shown.sources]
    if shown.memory:
        parts.append(_memory(shown.memory, shown.knows))
    if shown.marks is not None and len(shown.marks.time):
        parts.append(f"<p>{shown.timeline()._repr_html_()}</p>")
    if shown.notes:
        parts.append(f"<p>{'<br>'.join(escape(note) for note in shown.notes)}</p>")
    return "".join(parts)


def _source(title: str, rows: Sequence[LineRow], greatest: int, knows: frozenset[str]) -> str:
    columns = ["faults", *(["bytes"] if "bytes" in knows else []), *(["time"] if "ns" in knows else [])]
    head = html_table.row(
        html_table.cell(),
        html_table.column_heads([*columns, "line"]),
        html_table.column_heads([title], _LEFT),
    )
    made = []
    for row in rows:
        cells = [f"{row.faults:,}" if row.faults else ""]
        cells += [bytes_or_nothing(row.bytes)] if "bytes" in knows else []
        cells += [time_or_nothing(row.ns)] if "ns" in knows else []
        heat = _HEAT * row.faults / max(greatest, 1)
        style = f'style="background-color: rgba({_ORANGE}, {heat:.2f})"' if row.faults else ""
        made.append(
            html_table.row(
                html_table.cell(_bar(row.faults, greatest)),
                "".join(html_table.cell(_kept(one), style) for one in cells),
                html_table.row_head(str(row.number or "")),
                html_table.cell(_code(row.code), _CODE),
            )
        )
    return scrolled(html_table.table(made, head, 'class="dataframe"'), "lines with their page faults")


def _code(code: str) -> str:
    indent = len(code) - len(code.lstrip())
    return "\N{NO-BREAK SPACE}" * indent + escape(code.strip())


def _kept(words: str) -> str:
    return escape(words).replace(" ", "\N{NO-BREAK SPACE}")


def _bar(faults: int, greatest: int) -> str:
    if not faults:
        return ""
    width = max(_BAR * faults / max(greatest, 1), 1)
    left = _BAR - width
    shape = f'<rect x="{left:.1f}" width="{width:.1f}" height="{_HEIGHT}" {svg_image.filled(0)}/>'
    return svg_image.image(shape, _BAR, _HEIGHT, {0: _LOOK}, "", _NARROWEST)


def _memory(rows: Sequence[MemoryRow], knows: frozenset[str]) -> str:
    columns = ["faults", *(["bytes"] if "bytes" in knows else []), *(["time"] if "ns" in knows else [])]
    head = html_table.row(
        html_table.column_heads(["memory"], _LEFT),
        html_table.column_heads(columns),
        html_table.column_heads(["kinds"], _LEFT),
    )
    made = []
    for row in rows[:_MOST_VARIABLES]:
        cells = [f"{row.faults:,}"]
        cells += [bytes_or_nothing(row.bytes)] if "bytes" in knows else []
        cells += [time_or_nothing(row.ns)] if "ns" in knows else []
        name = escape(row.name) if row.is_variable else f"<i>{escape(row.name)}</i>"
        made.append(
            html_table.row(
                html_table.row_head(name, _LEFT),
                "".join(html_table.cell(_kept(one)) for one in cells),
                html_table.cell(escape(row.kinds), _LEFT),
            )
        )
    more = len(rows) - _MOST_VARIABLES
    note = f"<p>… and {more} more in by_variable()</p>" if more > 0 else ""
    return scrolled(html_table.table(made, head, 'class="dataframe"'), "memory with its page faults") + note
