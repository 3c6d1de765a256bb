"""``pte-magic snapshot``: the entries of processes, as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.api.snapshots.take_snapshot import ALL
from pte_magic.api.snapshots.take_snapshot import snapshot as written
from pte_magic.cli import output
from pte_magic.cli.argument_parser import quoted

if TYPE_CHECKING:
    import argparse


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
