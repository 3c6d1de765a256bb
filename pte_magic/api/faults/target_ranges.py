"""The addresses of the targets to which faults are narrowed, before the block and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.api import walk
from pte_magic.errors import PteMagicError
from pte_magic.linux.address_space import own

if TYPE_CHECKING:
    from collections.abc import Callable

    Ranges = list[tuple[int, int]]


def of_targets(targets: tuple[object, ...]) -> Ranges | None:
    """Return the addresses of targets now; None for all."""
    if not targets:
        return None
    return [pair for one in targets for pair in walk.meant_by(one, None, own()).ranges]


def after_block(resolved: Callable[[], Ranges | None]) -> tuple[Ranges, list[str]]:
    """Return the addresses of the targets after the block, and a note if it has made of them what has none."""
    try:
        return resolved() or [], []
    except Exception as error:  # noqa: BLE001  (an expression of the user's raises what it likes)
        why = error if isinstance(error, PteMagicError) else f"{type(error).__name__} after the block"
        return [], [f"only what the targets were before the block is shown: {why}"]
