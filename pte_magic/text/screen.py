"""The screen that a text is for: its width, its letters, its colours, and whether a shell's user looks at it."""

from __future__ import annotations

import builtins
import os
import shutil
import sys
import textwrap
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 80
"""The columns of a text that is not for a terminal, as in a pipe or a notebook."""
BOLD, DIM = "1", "2"
"""Styles, as parameters of the control sequence SGR (ECMA-48, 8.3.117)."""

_NARROWEST = 20  # columns; with fewer, nothing fits
_FEWEST, _AROUND = 20, 13  # rows of a table at a shell, and at most the lines around it, with the prompt
_INDENT = "  "  # of what is left of a long line
_has_colors: ContextVar[bool] = ContextVar("_has_colors", default=False)
_at_shell: ContextVar[bool] = ContextVar("_at_shell", default=False)


def is_terminal() -> bool:
    """Tell whether somebody sees standard output as it is written."""
    try:
        return bool(sys.stdout.isatty())
    except (AttributeError, ValueError):  # there is none, or one that can only be written to; it is closed
        return False


def width() -> int:
    """Return the columns of the screen: COLUMNS, as shells and programs have it, or else those of a terminal."""
    typed = os.environ.get("COLUMNS", "")
    if typed.isascii() and typed.isdecimal() and int(typed):
        return max(int(typed), _NARROWEST)
    if not is_terminal():
        return WIDTH
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH, _NARROWEST)
    except (AttributeError, OSError, ValueError):  # a terminal that some program only imitates
        return WIDTH


def rows_at_shell(rows: int) -> int | None:
    """Return how many rows of a table a shell's user gets: as many as a terminal has room for; in a pipe, all.

    Returns:
        None for others, such as notebooks.

    """
    if not _at_shell.get():
        return None
    if not is_terminal():
        return rows
    return min(rows, max(_FEWEST, shutil.get_terminal_size().lines - _AROUND))


def wants_colors() -> bool:
    """Tell whether standard output has colours: a terminal that is not dumb, without NO_COLOR (no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


@contextmanager
def colored(wanted: bool) -> Iterator[None]:  # noqa: FBT001  (it is all that it takes)
    """Let texts that are made meanwhile have colours, or not."""
    before = _has_colors.set(wanted)
    try:
        yield
    finally:
        _has_colors.reset(before)


def painted(text: str, style: str) -> str:
    """Return a text in a style where texts have colours now; spaces around it stay as they are."""
    if not style or not _has_colors.get() or not text.strip():
        return text
    inner = text.strip(" ")
    before, _, after = text.partition(inner)
    return f"{before}\x1b[{style}m{inner}\x1b[m{after}"


def has_letters(text: str) -> bool:
    """Tell whether standard output can show all letters of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def fitted(line: str, columns: int, indent: str = _INDENT, style: str = "") -> str:
    """Return a line of words in as many lines as it takes, in a style; only words that are too long are longer."""
    if len(line) <= columns:
        return painted(line, style)
    lines = textwrap.wrap(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, tabsize=1
    )
    return "\n".join(painted(part, style) for part in lines)


@contextmanager
def shell() -> Iterator[None]:
    """Let messages and texts that are made meanwhile be for somebody who types at a shell."""
    before = _at_shell.set(True)
    try:
        yield
    finally:
        _at_shell.reset(before)


def either(in_python: str, at_shell: str) -> str:
    """Return the words for who types Python, or those for who types at a shell."""
    return at_shell if _at_shell.get() else in_python


def doctor() -> str:
    """Return what to type to see which walkers work: in a notebook with `%pte`, in other Python, or at a shell."""
    found = getattr(builtins, "get_ipython", lambda: None)()  # is there while a cell runs
    has_magics = found is not None and found.find_line_magic("pte") is not None
    return either("%pte --doctor" if has_magics else "pte_magic.doctor()", "pte-magic doctor")
