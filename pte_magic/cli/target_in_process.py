"""The target in a process that a command line names, without pandas."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pte_magic.cli import terminal
from pte_magic.errors import TargetError
from pte_magic.linux.address_space import AddressSpace
from pte_magic.targets import target as targets
from pte_magic.targets.named_target import Named
from pte_magic.text.typed_numbers import number

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


@contextmanager
def named(given: argparse.Namespace) -> Iterator[Named]:
    """Open the address space of a command's process, find its target there, and write notes about it.

    Raises:
        PteMagicError: It does not name a target, or this user may not look at it.

    """
    text = given.target
    with AddressSpace(given.pid) as space:
        meant = targets.parse(text, space)
        if meant is None:
            raise targets.unknown(text, space)
        if meant.address is not None:
            _check(text, meant.address, space)
        if meant.note:
            terminal.note(meant.note)
        yield Named(f"{given.pid} {text}", text, None, meant, space)


def _check(text: str, address: int, space: AddressSpace) -> None:
    """Refuse a second pid, and note how an address was read if nothing is mapped there.

    Raises:
        TargetError: A process has this number, and it was not written as an address.

    """
    if any(region.start <= address < region.end for region in space.regions()):
        return
    if text.isdecimal() and os.path.exists(f"/proc/{text}"):  # noqa: PTH110  (pathlib takes a tenth of the time of all)
        message = f"{text} is the pid of a process, and nothing is mapped at that address in pid {space.pid}; "
        message += f"name one process, or type {address:#x} for the address"
        raise TargetError(message)
    read = number(text, digits_are_hex=False)
    terminal.note("; ".join(filter(None, (f"nothing is mapped at {address:#x}", read.note if read else ""))))
