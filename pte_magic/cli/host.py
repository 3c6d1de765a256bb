"""``pte-magic machine``, ``decode``, ``doctor`` and ``snapshot``: the commands that are not about one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pte_magic.api.decode import decode as decoded
from pte_magic.api.doctor import doctor as report
from pte_magic.api.machine.processes import machine as processes
from pte_magic.api.snapshots.take import ALL
from pte_magic.api.snapshots.take import snapshot as written
from pte_magic.cli import output, terminal
from pte_magic.cli.parser import quoted
from pte_magic.errors import arguments
from pte_magic.text.typed_numbers import number

if TYPE_CHECKING:
    import argparse

    from pte_magic.cli.parser import Parser


def machine(given: argparse.Namespace) -> None:
    """Show all processes, or physical memory by owner.

    Raises:
        PteMagicError: They cannot be shown; says why.

    """
    if given.map:
        output.no_text_only(given, "--map")
        terminal.show(processes(walker=given.walker).map())
    else:
        output.give(processes(walker=given.walker), given)


def decode(given: argparse.Namespace) -> None:
    """Decode raw entries.

    Raises:
        TargetError: One is not an entry.

    """
    entries, parser = [], cast("Parser", given.parser)
    for text in given.values:
        read = number(text, digits_are_hex=True)
        if read is None:
            parser.error(f"{quoted(text)} is not a number, such as 0x8000000153016067")
        if read.note:
            terminal.note(read.note)
        entries.append(arguments.typed_entry(text, read.value))
    frame = decoded(entries, level=given.level, arch=given.arch, release=given.release)
    if given.bits:
        output.no_text_only(given, "--bits")
        terminal.show("\n\n".join(str(frame.bits(row)) for row in range(len(frame))))
    else:
        output.give(frame, given)


def doctor(given: argparse.Namespace) -> None:
    """Show which walkers work here."""
    output.give(report(), given)


def snapshot(given: argparse.Namespace) -> int:
    """Write the entries of processes to files; return 1 if some could not be read.

    Raises:
        PteMagicError: They cannot be written; says why.

    """
    named = given.pids not in ([], [ALL])
    wrong = next((text for text in given.pids if not (text.isascii() and text.isdecimal())), None) if named else None
    if wrong is not None:
        given.parser.error(f"{quoted(wrong)} is not the number of a process; name numbers, such as 1234, or {ALL}")
    pids = [int(text) for text in given.pids] if named else ALL
    table = written(given.path, pids, walker=given.walker, private=not given.public)
    output.give(table, given)
    return int(named and bool(table["error"].notna().any()))
