"""The terminal, or the file or pipe, to which a command writes: whole texts, warnings in one line, and colours."""

from __future__ import annotations

import io
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pte_magic.errors import ResourceError
from pte_magic.errors.escapes import visible
from pte_magic.text import screen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO


class ClosedPipe(Exception):  # noqa: N818  (it is not an error: a reader, such as head, has seen enough)
    """Nobody reads standard output any more."""


@contextmanager
def prepared() -> Iterator[None]:
    """Let no letter stop the output in a locale that lacks it, and show warnings as lines of this command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if it is closed
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        yield


def _show_warning(  # noqa: PLR0913, PLR0917  (as warnings.showwarning)
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del filename, lineno, file, line
    if issubclass(category, UserWarning):
        note(str(message))


def note(text: str) -> None:
    """Write a line about the command itself to standard error."""
    print(f"pte-magic: {visible(text)}", file=sys.stderr)  # noqa: T201  (a command says so to who typed it)


def write(text: str) -> None:
    """Write a text to standard output.

    Raises:
        ClosedPipe: Nobody reads it.
        ResourceError: It cannot be written.

    """
    if sys.stdout is None:
        message = "standard output is closed; redirect it to a file, such as /dev/null"
        raise ResourceError(message)
    with _writing():
        sys.stdout.write(text)


def flush() -> None:
    """Write what is left of all texts; raises as `write`."""
    if sys.stdout is not None:
        with _writing():
            sys.stdout.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _give_up()
        raise ClosedPipe from None
    except OSError as error:
        _give_up()
        message = f"standard output cannot be written: {error.strerror}"
        raise ResourceError(message) from error


def _give_up() -> None:
    """Send what Python still has to write nowhere, or it would try once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def has_color(wanted: str) -> bool:
    """Tell whether to use colours; `wanted` is always, never or auto, which is `screen.wants_colors`."""
    return screen.wants_colors() if wanted == "auto" else wanted == "always"


def show(what: object) -> None:
    """Write the text of a frame or another result, and a line feed; raises as `write`."""
    write(f"{what}\n")
