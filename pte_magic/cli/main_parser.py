"""The command line: the parser of all commands and options, without the modules that do what they say."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pte_magic.cli import administration, commands
from pte_magic.cli.argument_parser import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = "name"
"""The attribute with the name of the command."""
_RUN = "--"  # what follows is a command of the system's


class _Version(argparse.Action):
    """Prints the version of the installed distribution; it takes as long to find as all else here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415  (see above)

        print(f"pte-magic {version('pte-magic')}")  # noqa: T201  (it was asked for)
        parser.exit()


def parser() -> Parser:
    """Return the parser of ``pte-magic``; each command has its own, with the name of its function as ``function``."""
    made = Parser(
        prog="pte-magic",
        description="Page-table entries of running processes: which pages are in memory, how large they are, who "
        "shares them, and every bit of their entries.",
        epilog="Exit status: 0 if all went well, 1 after an error, 2 if the line is wrong, 130 after Ctrl-C, and of "
        "diff and faults that of their command. Without root, only your own processes are shown; `pte-magic doctor` "
        "says what you see.",
    )
    made.add_argument("--version", action=_Version, nargs=0, help="print the version")
    each = made.add_subparsers(title="commands", metavar="COMMAND", dest=COMMAND, required=True, parser_class=Parser)
    commands.add(each)
    administration.add(each)
    return made


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return what a command line says; exit if that was help, or with status 2 if the line is wrong."""
    made = parser()
    words, command = list(words), []
    if words[:1] in (["diff"], ["faults"]) and _RUN in words:
        at = words.index(_RUN)
        words, command = words[:at], words[at + 1 :]
    given: argparse.Namespace
    given, rest = made.parse_known_args(words)
    if rest:
        given.parser.unknown(rest, getattr(given, "pid", None))
    given.command = command
    return given
