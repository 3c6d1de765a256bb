"""``pte-magic machine``: all processes of this host, or its physical memory by owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.api.machine.processes import machine as processes
from pte_magic.cli import output, terminal

if TYPE_CHECKING:
    import argparse


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
