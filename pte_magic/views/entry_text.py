"""An entry as text: a headline, one line per field, and the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.formats.describe import HIDDEN, READERS, hexadecimal
from pte_magic.text import screen
from pte_magic.views.value_words import UNSEEN, marked

if TYPE_CHECKING:
    from pte_magic.formats.describe import Description

_ANY = 1 << 30
_INDENT = " " * 28  # where the meaning of a bit begins
_BELOW = " " * 10  # where it begins if it has lines of its own
_NARROW = 60  # characters; in a line that has fewer, there is room for few of its words


def text(entry: Description, *, differ: int = 0, width: int | None = None) -> str:
    """Return an entry as text: a headline, then one line per field, and the sources.

    Args:
        entry: The entry.
        differ: Bits to mark.
        width: Characters of a line, beyond which words go on in the next line; None for one line each.

    """
    columns = _ANY if width is None else width
    lines = [screen.fitted(headline(entry), columns, style=screen.BOLD), "    bits  field          value"]
    for part in entry.parts:
        mark = ">" if differ >> part.low & (1 << part.width) - 1 else " "
        value = str(part.value) if part.width == 1 else f"{part.value:#x}"
        value = UNSEEN if part.says == HIDDEN else value
        says = part.says if part.width > 1 and part.says != str(part.value) else ""
        meaning = f"{part.meaning} ({READERS[part.by]})" if part.name else part.meaning
        line = f"{mark} {part.bits:>6}  {part.name or '-':13}  {value}"
        means = f"{says}: {meaning}" if says else meaning
        style = screen.BOLD if part.width == 1 and part.value and part.name else ""
        if columns < _NARROW:
            lines += [screen.painted(line, style), screen.fitted(_BELOW + means, columns, _BELOW, style)]
        else:
            lines.append(screen.fitted(f"{line}  {means}", columns, _INDENT, style))
    of = (f"{source}: {', '.join(names)}" for source, names in sources(entry).items())
    return "\n".join([*lines, *(screen.fitted(line, columns) for line in of)])


def sources(entry: Description) -> dict[str, list[str]]:
    """Return the sources of the fields' meanings, with the names of the fields."""
    found: dict[str, list[str]] = {}
    for part in entry.parts:
        if part.source:
            found.setdefault(part.source, []).append(part.name)
    return found


def headline(entry: Description) -> str:
    """Return the line at the top."""
    kind = f" ({entry.kind})" if entry.kind else ""
    hidden = sum((1 << part.width) - 1 << part.low for part in entry.parts if part.says == HIDDEN)
    (shown,) = marked([hexadecimal(entry.entry, entry.width)], [hidden])
    return f"{entry.level} entry {shown}: {entry.state}{kind}, {entry.says}"
