"""``pte-magic diff``: two walks of a process, around a command or some seconds, and what changed in between."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from pte_magic.api import walk
from pte_magic.cli import output, target_in_process, terminal
from pte_magic.errors import PteMagicError

if TYPE_CHECKING:
    import argparse

NOT_FOUND, NOT_RUN, BY_SIGNAL = 127, 126, 128
"""Exit statuses of env(1) and shells: a command is not there, cannot be run, or was ended by a signal (their sum)."""


def diff(given: argparse.Namespace) -> int:
    """Walk, run a command or wait, walk again, and show the difference; return the exit status of the command.

    Raises:
        PteMagicError: It cannot be shown; says why.

    """
    if bool(given.command) == (given.seconds is not None):
        given.parser.error("diff is around a command or some seconds; add -- COMMAND to the line, or --seconds N")
    with target_in_process.named(given) as named:
        before = walk.walk_target(named.meant, named.space, walker=given.walker, tables=False)
        status = 0
        if given.command:
            try:
                status = _run(given.command)
            except OSError as error:
                terminal.note(f"{given.command[0]!r} cannot be run: {os.strerror(error.errno or 0)}")
                return NOT_FOUND if error.errno == errno.ENOENT else NOT_RUN
        else:
            time.sleep(given.seconds)
        try:
            after = walk.walk_target(named.meant, named.space, walker=given.walker, tables=False)
        except PteMagicError as error:
            if not status:
                raise
            terminal.note(str(error))
            return status
    output.give(before.diff(after), given)
    return status


def _run(command: list[str]) -> int:
    """Run a command with the terminal as it is; return its exit status, as shells have it.

    An interrupt is the command's, as it is of the same process group; what it changed until then is shown.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in a job that a shell has started with `&`
    before = (
        None if ignored else signal.signal(signal.SIGINT, lambda *_: None)
    )  # a handler, unlike SIG_IGN, is not inherited
    try:
        status = subprocess.call(command)  # noqa: S603  (it was typed)
    finally:
        if not ignored:
            signal.signal(signal.SIGINT, before)
    return status if status >= 0 else BY_SIGNAL - status
