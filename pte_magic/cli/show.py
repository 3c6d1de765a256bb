"""``pte-magic show`` and ``summary``: the entries of a process; one address takes no pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.api import address_text
from pte_magic.cli import target_in_process, terminal
from pte_magic.targets import target as targets

if TYPE_CHECKING:
    import argparse


def show(given: argparse.Namespace) -> None:
    """Show the entries of a process.

    Raises:
        PteMagicError: They cannot be shown; says why.

    """
    is_data = given.json or given.csv or given.parquet is not None
    is_table = given.frames or given.runs or given.tables or given.entries
    with target_in_process.named(given) as named:
        if named.meant.address is not None and not (is_data or is_table):
            terminal.show(address_text.text(named.meant, named.space, given.walker))
            return
        from pte_magic.api import walk  # noqa: PLC0415  (pandas, which takes longer than an address)
        from pte_magic.cli import output  # noqa: PLC0415  (likewise)

        frame = walk.walk_target(named.meant, named.space, walker=given.walker, tables=given.tables)
    if given.frames:
        frame = frame.frames()
    elif given.entries:
        frame = frame.copy()  # which is shown by entry
    elif is_data and not is_table and named.meant.ranges == targets.whole().ranges:
        output.give(frame.regions(), given)
        return
    output.give(frame.runs() if given.runs else frame, given)


def summary(given: argparse.Namespace) -> None:
    """Show entries and bytes by state and page size.

    Raises:
        PteMagicError: They cannot be shown; says why.

    """
    from pte_magic.api import walk  # noqa: PLC0415  (pandas, which `show` of one address has no use for)
    from pte_magic.cli import output  # noqa: PLC0415  (likewise)

    with target_in_process.named(given) as named:
        frame = walk.walk_target(named.meant, named.space, walker=given.walker, tables=False)
    output.give(frame.summary(), given)
