"""``pte-magic faults``: the page faults of a command, or of a process for some seconds."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.api import process_faults
from pte_magic.cli import output, terminal
from pte_magic.cli.diff import BY_SIGNAL, NOT_FOUND, NOT_RUN
from pte_magic.cli.held_command import HeldCommand
from pte_magic.events.fault_sources import open_source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from pte_magic.events.source import FaultSource

_PAUSE = 0.02  # seconds between two looks at the regions
_LONGEST = 0.5  # a process of many regions is looked at less often


def faults(given: argparse.Namespace) -> int:
    """Record faults and show them; return the exit status of the command.

    Raises:
        PteMagicError: They cannot be recorded; says why.

    """
    if bool(given.command) == (given.pid is not None):
        given.parser.error("type a command after --, or the PID of a process, and not both")
    if given.command and (given.seconds is not None or given.children):
        given.parser.error(
            "--seconds and --children are for a PID; a command is recorded to its end, with its children"
        )
    return _of_command(given) if given.command else _of_process(given)


def _of_command(given: argparse.Namespace) -> int:
    with HeldCommand(given.command) as held, _opened(given, held.pid, children=True, from_exec=True) as source:
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        before = None if ignored else signal.signal(signal.SIGINT, lambda *_: None)  # an interrupt is the command's
        try:
            source.start()
            try:
                held.go()
            except OSError as error:
                terminal.note(f"{given.command[0]!r} cannot be run: {os.strerror(error.errno or 0)}")
                return NOT_FOUND if error.errno == errno.ENOENT else NOT_RUN
            _record(source, held.pid, held.has_ended, given)
        finally:
            if not ignored:
                signal.signal(signal.SIGINT, before)
    return held.status if held.status >= 0 else BY_SIGNAL - held.status


def _of_process(given: argparse.Namespace) -> int:
    with _opened(given, given.pid, children=given.children, from_exec=False) as source, _ending(given.pid) as has_ended:
        source.start()
        end = None if given.seconds is None else time.monotonic() + given.seconds

        def is_over() -> bool:
            return (end is not None and time.monotonic() >= end) or has_ended()

        _record(source, given.pid, is_over, given)
    return 0


@contextmanager
def _ending(pid: int) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether a process has ended, also if its parent does not wait for it: a zombie."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # it has gone; or the kernel is older than 5.3, or refuses it, as containers may
        yield lambda: not Path(f"/proc/{pid}").exists()
        return
    try:
        yield lambda: bool(select.select([fd], [], [], 0)[0])
    finally:
        os.close(fd)


def _opened(given: argparse.Namespace, pid: int, *, children: bool, from_exec: bool) -> FaultSource:
    return open_source(
        given.source, pid=pid, children=children, buffer=given.buffer, most=given.most, from_exec=from_exec
    )


def _record(source: FaultSource, pid: int, is_over: Callable[[], bool], given: argparse.Namespace) -> None:
    """Read the regions again and again, as they go with the process, until it is over; then show the faults."""
    known = process_faults.KnownRegions()
    with suppress(KeyboardInterrupt):
        while True:
            begin = time.monotonic()
            known.read(_descendants(pid))
            source.look()
            if is_over():
                break
            time.sleep(min(max(_PAUSE, 10 * (time.monotonic() - begin)), _LONGEST))
    found = source.stop()
    rows = process_faults.frame(found, known)
    if given.json or given.csv or given.parquet is not None:
        output.give(rows, given)
        if found.lost or found.source == "rusage":  # which no row says
            terminal.note(process_faults.sentence(found))
    else:
        terminal.show(process_faults.text(found, rows, whole=given.all))


def _descendants(pid: int) -> Iterator[int]:
    """Yield a process and those that it has started, as far as the kernel tells (CONFIG_PROC_CHILDREN)."""
    yield pid
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_bytes().split():
                yield from _descendants(int(child))
