"""Tables as text that fit the width of a screen: columns give way in an order, and words go on in the next line.

It takes no pandas, as commands that answer at once use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pte_magic.text import screen
from pte_magic.views.value_words import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

JOINED = "\N{NO-BREAK SPACE}"
"""A space that is not a place to go on in the next line."""

_SHORTEST = 16  # characters of a text that was cut
_MOST_LINES, _ANY = 2, 64  # of a row: before other columns give way, and when there are none


class Fitted(NamedTuple):
    """A table as lines of text, and the columns for which there was no room, with their texts."""

    lines: list[str]
    left_out: dict[str, Sequence[str]]
    is_narrow: bool = False
    """Columns had to give way, or words to go on in the next line."""

    def notes(self, below: Sequence[str]) -> list[str]:
        """Return the lines below the table, and in them what is about these columns.

        Args:
            below: Lines; at the end of the first one that is in brackets are the values that all rows have.

        """
        same = {name: cells[0] for name, cells in self.left_out.items() if len(cells) > 1 and len(set(cells)) == 1}
        if not any(line.startswith("[") for line in below):
            same = {}
        others = [name for name in self.left_out if name not in same]
        made = [f"no room here for {', '.join(others)}"] if others else []
        for line in below:
            if same and line.startswith("["):
                made.append(f"{line[:-1]}; {', '.join(f'{name} {value}' for name, value in same.items())}]")
                same = {}
            else:
                made.append(line)
        return made


class Rules(NamedTuple):
    """The rules by which a table fits a width.

    Attributes:
        leave: Columns that give way, the first of them first. Others follow, the last ones of the table first.
        keep: Columns that never do.
        wrap: Columns of words, which go on in the next line.
        cut: Columns of texts from which something may be cut.
        last: Columns of `keep` that give way all the same where nothing else helps.
        style: Returns the style of a text in a column, of the name and the text; empty for none.

    """

    leave: Sequence[str] = ()
    keep: Collection[str] = ()
    wrap: Collection[str] = ()
    cut: Collection[str] = ()
    last: Sequence[str] = ()
    style: Callable[[str, str], str] = lambda _name, _text: ""


def fitted(
    table: Mapping[str, Sequence[str]], index: Sequence[str] | None, width: int, rules: Rules, most: int | None = None
) -> Fitted:
    """Return a table as lines that are not longer than a width, if that can be.

    Args:
        table: The texts of each column.
        index: The text before each row; None for nothing.
        width: Characters of a line.
        rules: The rules of what may give way.
        most: The number of columns that are shown at most; None for any.

    """
    columns = dict(table)
    left_out: dict[str, Sequence[str]] = {}
    order = [name for name in dict.fromkeys(rules.leave) if name in columns]
    order += [name for name in reversed(columns) if name not in {*order, *rules.keep}]
    before = max(map(len, index), default=0) + 1 if index is not None else 0
    gap = 2 if before + sum(_widest(name, columns[name]) + 2 for name in columns) - 2 <= width else 1

    def least(lines: int) -> dict[str, int]:
        """Return the least width of each column if words take as many lines."""
        return {name: _least(name, cells, lines, rules) for name, cells in columns.items()}

    def room(lines: int) -> int:
        """Return what is left of the width then."""
        return width + gap - before - sum(each + gap for each in least(lines).values())

    while order and ((most is not None and len(columns) > most) or room(_MOST_LINES) < 0):
        name = order.pop(0)
        left_out[name] = columns.pop(name)
    lines = _MOST_LINES
    while room(lines) < 0 and lines < _ANY:
        lines *= 2
    if room(lines) < 0 and index is not None:
        index, before = None, 0
    for name in rules.last:
        if room(lines) < 0 and name in columns:
            left_out[name] = columns.pop(name)
    widths, free = least(lines), room(lines)
    for name, cells in columns.items():
        if free > 0:
            wider = min(_widest(name, cells), widths[name] + free)
            free -= wider - widths[name]
            widths[name] = wider
    is_narrow = bool(left_out) or any(widths[name] < _widest(name, cells) for name, cells in columns.items())
    return Fitted(_lines(columns, index, before - 1, widths, gap, rules), left_out, is_narrow)


def _widest(name: str, cells: Sequence[str]) -> int:
    return max([len(name), *map(len, cells)])


def _least(name: str, cells: Sequence[str], lines: int, rules: Rules) -> int:
    """Return the least width in which each text takes at most so many lines."""
    widest = _widest(name, cells)
    if name in rules.cut:
        return min(widest, max(_SHORTEST, len(name)))
    if name not in rules.wrap:
        return widest
    texts = [name, *dict.fromkeys(cells)]
    least = max(len(word) for text in texts for word in text.split(" "))
    return next((at for at in range(least, widest) if all(len(_wrapped(text, at)) <= lines for text in texts)), widest)


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: (width - 1) // 2]}…{text[len(text) - width // 2 :]}"


def _lines(  # noqa: PLR0913, PLR0917  (what there is to know about the table)
    columns: Mapping[str, Sequence[str]],
    index: Sequence[str] | None,
    indent: int,
    widths: Mapping[str, int],
    gap: int,
    rules: Rules,
) -> list[str]:
    rows = len(next(iter(columns.values()))) if columns else len(index or ())
    made = []
    for row in range(-1, rows):
        texts = {name: name if row < 0 else cells[row] for name, cells in columns.items()}
        cells = {
            name: _wrapped(text, widths[name]) if name in rules.wrap else [_cut(text, widths[name])]
            for name, text in texts.items()
        }
        label = "" if row < 0 or index is None else index[row]
        height = max(map(len, cells.values()), default=1)
        for line in range(height):
            words = [] if index is None else [(label if not line else "").ljust(indent)]
            for name, text in cells.items():
                part = text[line] if line < len(text) else ""
                whole = part.ljust(widths[name]) if name in rules.wrap else part.rjust(widths[name])
                style = "" if row < 0 else rules.style(name, texts[name])
                words.append(screen.painted(whole.replace(JOINED, " "), style))
            first, rest = (words[:1], words[1:]) if index is not None else ([], words)
            made.append(" ".join([*first, (" " * gap).join(rest)]).rstrip())
    return made


def cell(words: Sequence[str]) -> str:
    """Return the text of a cell of words; of one without any, what stands for a missing value."""
    return " ".join(words) or MISSING


def cells_of(rest: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the texts of cells of the words that not all rows have; only of a row without any, it is a missing one."""
    return [cell(left) if left or not row else "" for left, row in zip(rest, rows, strict=True)]


def common(rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the words that are in each row that has any, in their order."""
    found: dict[str, None] | None = None
    for row in rows:
        if row:
            found = dict.fromkeys(row) if found is None else {word: None for word in found if word in row}
    return tuple(found or ())


def about_all(heading: str, rows: Sequence[Sequence[str]], same: Sequence[str]) -> str:
    """Return the line about the words that each row has that has any."""
    where = " in all of these rows" * (len(rows) > 1) if all(rows) else " in all of these rows that have any"
    return f"{heading}{where}: {' '.join(same).replace(JOINED, ' ')}"
