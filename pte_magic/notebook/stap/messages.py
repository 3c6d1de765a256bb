"""SystemTap's messages about a cell: with the cell's lines and columns, without noise, and with what to type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pte_magic.notebook.stap.cell_script import C_FILE, NAME
from pte_magic.notebook.stap.python_values import python_names
from pte_magic.systemtap.hints import hints

if TYPE_CHECKING:
    from pte_magic.notebook.stap.cell_script import Cell

# A place without a file's name is in a statement that SystemTap took apart.
_PLACE = re.compile(rf"(?:\S*\b{NAME}\.stp|(?<=\bat )):(\d+):(\d+)")
_SOURCE = re.compile(r"^( *source: ).*")
_C_PLACE = re.compile(rf"^{re.escape(C_FILE)}:(\d+):(\d+): (?:fatal )?(?:error|warning): ")
_REFERENCE = re.compile(r" \[man (?:error|warning)::\w+\]")

_NOISE = re.compile(
    r"""Kernel\ version\ .*\ tested\ range | Tip:\  | WARNING:\ Kernel\ function\ symbol\ table\ missing
      | Pass\ \d:\ .*\ (?:failed|ms)\. | \d+\ parse\ errors?\. | Try\ again\ with\ another | make\b.*:\ \*\*\*
      | WARNING:\ kbuild\ exited | WARNING:\ \S*staprun\ exited | Input\ file\ .*\ is\ empty
      | WARNING:\ Number\ of\ errors:\ \d+,\ skipped\ probes:\ 0
      | There\ is\ no\ machine\ owner\ key | Generated\ a\ new\ \w*\ ?MOK | \s*\#\ sudo\ mokutil | Running\ sign-file
      | [.+*]{9,} | -----$
      | Number\ of\ similar\ \w+\ messages\ suppressed | Rerun\ with\ -v""",
    re.VERBOSE,
)


def explain(message: str, cell: Cell) -> str:
    """Return SystemTap's messages about a cell: with places in the cell, without noise, and with what to type."""
    message = _of_the_compiler(message, cell) or message
    said: list[str] = []
    places: set[tuple[int, int]] = set()
    for block in re.split(r"\n[ \t]*\n", message):
        lines, found = _placed(block.splitlines(), cell)
        if lines and not (found and found <= places):  # one mistake at a place is enough
            said += lines
            places |= found
    text = python_names("\n".join(said)).rstrip()
    if not text and "mokutil" in message:
        text = "the module cannot be signed"
    return "\n".join([text, *hints(message)]) if text else ""


def _placed(lines: list[str], cell: Cell) -> tuple[list[str], set[tuple[int, int]]]:
    """Return a message's lines with places and source of the cell; and these places."""
    told: list[str] = []
    places: list[tuple[int, int]] = []

    def put(found: re.Match[str]) -> str:
        places.append(cell.place(int(found[1]), int(found[2])))
        return _words(*places[-1])

    rest = iter(line for line in lines if line.strip() and not _NOISE.match(line))
    for line in rest:
        if places and (source := _SOURCE.match(line)):
            next(rest, "")  # the line that points at a column
            told += _shown(source[1], *places[-1], cell)
        else:
            told.append(_PLACE.sub(put, _REFERENCE.sub("", line)))
    return told, set(places)


def _of_the_compiler(message: str, cell: Cell) -> str:
    """Return the C compiler's messages about a cell's embedded C; empty if there are none."""
    told: list[str] = []
    for line in message.splitlines():
        if found := _C_PLACE.match(line):
            place = int(found[1]), int(found[2])
            told += [f"error in C: {line[found.end() :]} at {_words(*place)}", *_shown(" source: ", *place, cell), ""]
    return "\n".join(told)


def _words(line: int, column: int) -> str:
    return f"line {line}, column {column} of the cell"


def _shown(head: str, line: int, column: int, cell: Cell) -> list[str]:
    text = cell.line(line)
    blank = "".join(letter if letter == "\t" else " " for letter in text[: column - 1].ljust(column - 1))
    return [head + text, " " * len(head) + blank + "^"]
