"""The command ``pte-magic``: it parses a line, calls what is asked for, and returns the exit status."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from pte_magic.cli import terminal
from pte_magic.cli.main_parser import parse
from pte_magic.errors import PteMagicError
from pte_magic.text import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED, INTERRUPTED, CLOSED_PIPE = 1, 130, 141
"""Exit statuses besides 0, and 2 of argparse: an error; and as shells have them for SIGINT and SIGPIPE."""
_NEVER = "never"  # colours, in commands without the option


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status."""
    try:
        with terminal.prepared(), screen.shell():
            return _run(sys.argv[1:] if arguments is None else arguments)
    except terminal.ClosedPipe:
        return CLOSED_PIPE
    except KeyboardInterrupt as error:
        if str(error):
            terminal.note(str(error))
        return INTERRUPTED
    except PteMagicError as error:
        terminal.note(str(error))
        return FAILED


def _run(words: Sequence[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:
        from pte_magic.cli.completion import complete  # noqa: PLC0415  (an extra, only for the shell that asks)

        complete()
    given = parse(words)
    module, _, name = given.function.partition(":")
    try:
        with screen.colored(terminal.has_color(getattr(given, "color", _NEVER))):
            status = getattr(importlib.import_module(module), name)(given)  # the parser needs none of these modules
    finally:
        terminal.flush()
    return status or 0
