"""Completion in bash and zsh, by argcomplete: commands, options, processes, and the regions of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import argcomplete

from pte_magic.cli.main_parser import COMMAND, parser
from pte_magic.errors import PteMagicError
from pte_magic.linux import kernel_text
from pte_magic.linux.address_space import AddressSpace
from pte_magic.targets.target import region_names

if TYPE_CHECKING:
    import argparse


def complete() -> None:
    """Write what can follow to the shell, and exit, if it was argcomplete's function in the shell that asked."""
    made = parser()
    each: Any = next(action for action in made._actions if action.dest == COMMAND)  # noqa: SLF001  (no other way)
    for command in each.choices.values():
        for action in command._actions:  # noqa: SLF001  (as above)
            if action.dest in _BY_NAME:
                action.completer = _BY_NAME[action.dest]
    argcomplete.autocomplete(made)


def _pids(**_: Any) -> list[str]:
    return [str(pid) for pid in kernel_text.pids()]


def _targets(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    try:
        with AddressSpace(parsed_args.pid) as space:
            return [*region_names(space), "all"]
    except PteMagicError:
        return ["all"]


_BY_NAME = {"pid": _pids, "pids": _pids, "target": _targets}
