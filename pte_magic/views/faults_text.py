"""Page faults as text: a sentence, the lines of Python with their faults, and the variables with theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.errors.cut import cut
from pte_magic.errors.escapes import visible
from pte_magic.text import screen
from pte_magic.views import pandas_table
from pte_magic.views.faults_shown import bytes_or_nothing, time_or_nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.views.faults_shown import LineRow, Shown

_BAR = 8  # letters
_HOT, _WARM = "31", "33"  # styles of a line with at least half, or a tenth, of all faults
_HALF, _TENTH = 0.5, 0.1
_LEAST = 24  # letters of code
_MOST_VARIABLES = 12
_NUMBER = 9  # letters
_COLUMNS = (("bytes", "bytes"), ("time", "ns"))  # that give way, and what `knows` calls them


def text(shown: Shown) -> str:
    """Return the display as text that fits the screen."""
    width = pandas_table.width()
    lines = pandas_table.sentences([shown.sentence], screen.BOLD)
    whole = max((row.faults for source in shown.sources for row in source.rows), default=0)
    total = max(sum(row.faults for source in shown.sources for row in source.rows), 1)
    tables = [_source(one.title, one.rows, whole, total, shown.knows, width) for one in shown.sources]
    tables += [_memory(shown, width)] if shown.memory else []
    heads = {word for table in tables for word in table[0].split()}
    no_room = [name for name, known in _COLUMNS if known in shown.knows and name not in heads]
    lines += [line for table in tables for line in table]
    lines += [f"no room here for {', '.join(no_room)}"] if no_room and tables else []
    return "\n".join([*lines, *pandas_table.sentences([f"[{note}]" for note in shown.notes], screen.DIM)])


def _source(  # noqa: PLR0913, PLR0917  (what there is to know about the rows)
    title: str, rows: Sequence[LineRow], whole: int, total: int, knows: frozenset[str], width: int
) -> list[str]:
    cells = []
    for row in rows:
        bar = "#" * max(round(_BAR * row.faults / max(whole, 1)), 1 if row.faults else 0)
        cells.append(
            [
                f"{bar:>{_BAR}}",
                f"{row.faults:,}" if row.faults else "",
                bytes_or_nothing(row.bytes),
                time_or_nothing(row.ns),
                str(row.number or ""),
            ]
        )
    heads = [" " * _BAR, "faults", "bytes", "time", "line"]
    kept = [at for at, name in enumerate(heads) if name not in {"bytes", "time"} or name.replace("time", "ns") in knows]
    widths = [max(len(head), *(len(row[at]) for row in cells)) for at, head in enumerate(heads)]
    for leaves in (2, 3, 0):  # bytes, time and the bar give way
        if sum(widths[at] + 1 for at in kept) + _LEAST > width and leaves in kept:
            kept.remove(leaves)
    room = max(width - sum(widths[at] + 1 for at in kept) - 1, _LEAST // 2)
    made = [_joined(heads, kept, widths, cut(visible(title), room))]
    for row, parts in zip(rows, cells, strict=True):
        share = row.faults / total
        style = _HOT if share >= _HALF else _WARM if share >= _TENTH else ""
        code = _cut_end(_visible_code(row.code), room)
        made.append(_joined(parts, kept, widths, code, style))
    return made


def _joined(parts: Sequence[str], kept: Sequence[int], widths: Sequence[int], code: str, style: str = "") -> str:
    before = " ".join(parts[at].rjust(widths[at]) for at in kept)
    return f"{screen.painted(before, style)}  {code}".rstrip()


def _visible_code(code: str) -> str:
    indent = len(code) - len(code.lstrip())
    return " " * indent + visible(code.strip())


def _cut_end(code: str, room: int) -> str:
    return code if len(code) <= room else f"{code[: room - 1]}…"


def _memory(shown: Shown, width: int) -> list[str]:
    names = [_name(row.name, is_variable=row.is_variable) for row in shown.memory[:_MOST_VARIABLES]]
    widest = min(max(map(len, [*names, "memory"])), max(width // 2 - _BAR, _BAR))
    has_bytes = "bytes" in shown.knows and widest + 2 * (_NUMBER + 2) + 2 + _LEAST // 2 <= width
    rows = [
        (name, f"{row.faults:,}", bytes_or_nothing(row.bytes), row.kinds)
        for name, row in zip(names, shown.memory, strict=False)
    ]
    made = []
    for name, faults, bytes_, kinds in [("memory", "faults", "bytes", "kinds"), *rows]:
        head = f"{cut(name, widest, in_middle=True):{widest}}  {faults:>{_NUMBER}}"
        head += f"  {bytes_:>{_NUMBER}}" if has_bytes else ""
        made.append(f"{head}  {_cut_end(kinds, max(width - len(head) - 2, _LEAST // 2))}")
    more = len(shown.memory) - _MOST_VARIABLES
    if more > 0:
        made.append(f"… and {more} more in by_variable()")
    return made


def _name(name: str, *, is_variable: bool) -> str:
    return visible(name) if is_variable else f"({visible(name)})"
