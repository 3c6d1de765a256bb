"""``pte-magic why``: why memory of a process is not on huge pages, is swapped out, or on several nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.api.why.why import of_target
from pte_magic.cli import output, target_in_process

if TYPE_CHECKING:
    import argparse


def why(given: argparse.Namespace) -> None:
    """Show the checks, the line that matters first.

    Raises:
        PteMagicError: They cannot be made; says why.

    """
    with target_in_process.named(given) as named:
        again = f"pte-magic why --try {given.pid} {given.target}"
        found = of_target(
            named.meant, named.space, value=None, again=again, collapses=given.collapse, walker=given.walker
        )
    output.give(found, given)
