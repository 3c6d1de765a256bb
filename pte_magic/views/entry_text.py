"""An entry as text: a headline, one line per field, and the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.formats.describe import READERS, hexadecimal

if TYPE_CHECKING:
    from pte_magic.formats.describe import Description


def text(entry: Description, *, differ: int = 0) -> str:
    """Return an entry as text: a headline, then one line per field, and the sources.

    Args:
        entry: The entry.
        differ: Bits to mark.

    """
    lines = [headline(entry), "    bits  field          value"]
    for part in entry.parts:
        mark = ">" if differ >> part.low & (1 << part.width) - 1 else " "
        value = str(part.value) if part.width == 1 else f"{part.value:#x}"
        says = part.says if part.width > 1 and part.says != str(part.value) else ""
        meaning = f"{part.meaning} ({READERS[part.by]})" if part.name else part.meaning
        lines.append(f"{mark} {part.bits:>6}  {part.name or '-':13}  {value}  {f'{says}: ' if says else ''}{meaning}")
    return "\n".join([*lines, *(f"{source}: {', '.join(names)}" for source, names in sources(entry).items())])


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
    return f"{entry.level} entry {hexadecimal(entry.entry, entry.width)}: {entry.state}{kind}, {entry.says}"
