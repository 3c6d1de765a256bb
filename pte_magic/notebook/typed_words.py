"""Words of a typed line, cut only where no bracket or quote is open.

A line need not be Python (``[heap]``, ``/tmp/it's``), so Python's own tokenizer, which refuses what it does not know,
is not used here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.notebook.expressions import compiles, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_PID = 20
"""Words that an expression before a target may have."""

_PIECE = re.compile(
    r'''"""(?:\\.|[^\\])*?""" | \'\'\'(?:\\.|[^\\])*?\'\'\' | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \w+ | \s | .''',
    re.DOTALL | re.VERBOSE,
)
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_QUOTES = frozenset("'\"")
_PYTHONS_SPACES = " \t\n\r\f"


class Word(NamedTuple):
    """A word between spaces outside of brackets and quotes.

    Attributes:
        text: The word.
        start: Its beginning in the line.
        end: Its end in the line.

    """

    text: str
    start: int
    end: int


class _Piece(NamedTuple):
    text: str
    start: int
    depth: int  # of brackets around it; a bracket itself is outside of what it encloses


def words(line: str) -> list[Word]:
    """Return the words of a line."""
    found, start = [], None
    for text, at, depth in _pieces(line):
        if depth == 0 and text.isspace():
            if start is not None:
                found.append(Word(line[start:at], start, at))
            start = None
        elif start is None:
            start = at
    return found if start is None else [*found, Word(line[start:], start, len(line))]


def split(text: str) -> list[str]:
    """Split a text at the commas between targets: ``a[1, 2], child.pid a`` are two; those of a lambda do not count."""
    tree = parsed(text)
    if tree is not None and type(tree).__name__ != "Tuple":
        return [text.strip()]
    parts, start, lambdas = [], 0, 0
    for piece, at, depth in _pieces(text):
        if depth:
            continue
        if piece == "lambda":
            lambdas += 1
        elif piece == ":" and lambdas:
            lambdas -= 1
        elif piece == "," and not lambdas:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def plain(line: str) -> tuple[str, bool]:
    """Return a line without its comment and a ``;`` at its end, and whether it had a ``;``.

    A ``#`` begins a comment only after a space: it may be in the name of a file. Other kinds of spaces, as copied from
    web pages, become plain spaces.
    """
    line = "".join(" " if text.isspace() and text not in _PYTHONS_SPACES else text for text, *_ in _pieces(line))
    before = ""
    for text, at, _ in _pieces(line):
        if text == "#" and (not before or before.isspace()):
            # In an f-string, the quotes may be those around it.
            if compiles(line[:at]) or not compiles(line):
                line = line[:at]
            break
        before = text
    line = line.strip()
    if line.endswith(";") and [*_pieces(line)][-1].text == ";":
        return line[:-1].rstrip(), True
    return line, False


def has_open_quote(text: str) -> bool:
    """Tell whether a quote is not closed."""
    return any(piece in _QUOTES for piece, *_ in _pieces(text))


def outside_quotes(text: str) -> str:
    """Return a text without its quoted parts."""
    return "".join(piece for piece, *_ in _pieces(text) if piece[0] not in _QUOTES)


def _pieces(text: str) -> Iterator[_Piece]:
    depth = 0
    for found in _PIECE.finditer(text):
        piece = found[0]
        if piece in _CLOSE:
            depth = max(0, depth - 1)
        yield _Piece(piece, found.start(), depth)
        if piece in _OPEN:
            depth += 1
