"""Tables as text that fit the width of a screen: columns give way in an order, and words go on in the next line.

Where not even that helps, words have lines of their own below their row.

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

_SHORTEST, _SHORTER = 16, 10  # characters of a text that was cut, and where there is not even room for that
_BELOW, _FURTHER = "  ", "    "  # before words below a row, and before what is left of them
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
    shared = _Columns(table, index, width, rules)
    shared.give_way(most)
    shared.shrink()
    shared.move_below()
    widths = shared.widths()
    made = _lines(shared.columns, shared.index, shared.before - 1, widths, shared.gap, rules)
    lines = [line for row in made for line in row]
    if shared.below:
        lines = _with_words_below(made, shared.below, width, rules)
    is_cut = any(widths[name] < _widest(name, cells) for name, cells in shared.columns.items())
    return Fitted(lines, shared.left_out, bool(shared.left_out or shared.below) or is_cut)


class _Columns:
    """Columns that share the width of the screen, and what became of the others."""

    def __init__(
        self, table: Mapping[str, Sequence[str]], index: Sequence[str] | None, width: int, rules: Rules
    ) -> None:
        self._table, self._width, self._rules = table, width, rules
        self.columns, self.index = dict(table), index
        self.left_out: dict[str, Sequence[str]] = {}
        self.below: dict[str, Sequence[str]] = {}
        self.before = max(map(len, index), default=0) + 1 if index is not None else 0
        widest = sum(_widest(name, cells) + 2 for name, cells in table.items()) - 2
        self.gap = 2 if self.before + widest <= width else 1
        self._lines, self._shortest = _MOST_LINES, _SHORTEST

    def _least(self) -> dict[str, int]:
        """Return the least width of each column."""
        return {
            name: _least(name, cells, self._lines, self._shortest, self._rules) for name, cells in self.columns.items()
        }

    def _room(self) -> int:
        """Return what is left of the width then."""
        return self._width + self.gap - self.before - sum(each + self.gap for each in self._least().values())

    def give_way(self, most: int | None) -> None:
        """Leave columns out until the others have room, and are as many as there may be."""
        order = [name for name in dict.fromkeys(self._rules.leave) if name in self.columns]
        order += [name for name in reversed(self.columns) if name not in {*order, *self._rules.keep}]
        while order and ((most is not None and len(self.columns) > most) or self._room() < 0):
            self._leave_out(order.pop(0))

    def _leave_out(self, name: str) -> None:
        self.left_out[name] = self.columns.pop(name)

    def shrink(self) -> None:
        """Make columns narrower that have no room; leave out the index, and the last columns that may be."""
        while self._room() < 0 and self._lines < _ANY:
            self._lines *= 2
        if self._room() < 0:
            self.index, self.before = None, 0
        if self._room() < 0:
            self._shortest = _SHORTER
        for name in self._rules.last:
            if self._room() < 0 and name in self.columns:
                self._leave_out(name)

    def move_below(self) -> None:
        """Where there is no room even now, give all words lines of their own, and then the last other columns, too."""
        if self._room() < 0:
            words = {*self._rules.wrap} & {*self.columns, *self._rules.last}
            self.below = {name: cells for name, cells in self._table.items() if name in words}
            self.columns = {name: cells for name, cells in self.columns.items() if name not in words}
            self.left_out = {name: cells for name, cells in self.left_out.items() if name not in words}
        while self._room() < 0 and len(self.columns) > 1:
            name, cells = self.columns.popitem()
            self.below = {name: cells, **self.below}

    def widths(self) -> dict[str, int]:
        """Return the width of each column: the first ones get what is left."""
        widths, free = self._least(), self._room()
        for name, cells in self.columns.items():
            if free > 0:
                wider = min(_widest(name, cells), widths[name] + free)
                free -= wider - widths[name]
                widths[name] = wider
        return widths


def _widest(name: str, cells: Sequence[str]) -> int:
    return max([len(name), *map(len, cells)])


def _least(name: str, cells: Sequence[str], lines: int, shortest: int, rules: Rules) -> int:
    """Return the least width in which each text takes at most so many lines."""
    widest = _widest(name, cells)
    if name in rules.cut:
        return min(widest, max(shortest, len(name)))
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
) -> list[list[str]]:
    """Return the lines of the heads, and of each row."""
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
        of_row = []
        for line in range(height):
            words = [] if index is None else [(label if not line else "").ljust(indent)]
            for name, text in cells.items():
                part = text[line] if line < len(text) else ""
                whole = part.ljust(widths[name]) if name in rules.wrap else part.rjust(widths[name])
                style = "" if row < 0 else rules.style(name, texts[name])
                words.append(screen.painted(whole.replace(JOINED, " "), style))
            first, rest = (words[:1], words[1:]) if index is not None else ([], words)
            of_row.append(" ".join([*first, (" " * gap).join(rest)]).rstrip())
        made.append(of_row)
    return made


def _with_words_below(
    rows: Sequence[Sequence[str]], below: Mapping[str, Sequence[str]], width: int, rules: Rules
) -> list[str]:
    """Return the lines of all rows, each with the words that belong to it in lines below; first the heads."""
    made: list[str] = []
    for row, lines in enumerate(rows, -1):
        made += lines
        for name, cells in below.items():
            text = name if row < 0 else cells[row]
            if not text.strip(". "):  # it has none, or stands for rows that are left out
                continue
            style = "" if row < 0 else rules.style(name, text)
            made += screen.fitted(_BELOW + text, width, _FURTHER, style).replace(JOINED, " ").splitlines()
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
