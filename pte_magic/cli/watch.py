"""``pte-magic watch``: a process in a terminal, drawn again at each change; elsewhere a line per change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.api.live_text import shown_by
from pte_magic.api.watch import Watch
from pte_magic.cli import target_in_process, terminal

if TYPE_CHECKING:
    import argparse


def watch(given: argparse.Namespace) -> None:
    """Show changes until the process ends, or until Ctrl-C.

    Raises:
        PteMagicError: It cannot be watched; says why.

    """
    with target_in_process.named(given) as named, Watch(named, every=given.every, walker=given.walker) as seen:
        shown = shown_by(_write)
        try:
            for _ in seen:
                shown.now(seen.history())
        finally:
            seen.stop()
            shown.end(seen.history())
    state = seen.history().state
    if state != "stopped":  # it says why
        terminal.note(state)


def _write(text: str) -> None:
    terminal.write(text)
    terminal.flush()
