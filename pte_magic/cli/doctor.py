"""``pte-magic doctor``: the walkers that work here, and what to type for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.api.doctor import doctor as report
from pte_magic.cli import output

if TYPE_CHECKING:
    import argparse


def doctor(given: argparse.Namespace) -> None:
    """Show which walkers work here."""
    output.give(report(), given)
