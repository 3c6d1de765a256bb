"""The sources of page faults, and the choice of one: eBPF, perf events, or the kernel's totals."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pte_magic.errors import SourceUnavailableError, TargetError, arguments
from pte_magic.events.bpf_faults import BpfFaults
from pte_magic.events.perf_events import PerfFaults
from pte_magic.events.source import Wanted
from pte_magic.events.totals import Rusage
from pte_magic.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.events.source import FaultSource

AUTO = "auto"
_SOURCES: dict[str, Callable[[Wanted], FaultSource]] = {"bpf": BpfFaults, "perf": PerfFaults, "rusage": Rusage}
NAMES = tuple(_SOURCES)
"""The names of all sources, the one that sees most first."""
BUFFER = Wanted().buffer
"""Bytes of the memory for records, unless a user wants others."""
MOST = Wanted().most
"""The number of records, unless a user wants another."""
_LEAST = 1 << 16  # bytes of a buffer


def open_source(  # noqa: PLR0913  (a user has these by name)
    source: str = AUTO,
    *,
    pid: int | None = None,
    children: bool = False,
    buffer: int = BUFFER,
    most: int = MOST,
    from_exec: bool = False,
) -> FaultSource:
    """Attach a source of page faults to a process; `FaultSource.start` begins.

    Args:
        source: Its name, such as ``"perf"``; by default the one that sees most here.
        pid: The process; this one if None.
        children: Follow the processes that it starts, too.
        buffer: The bytes of the memory for records: what has no room in it is counted.
        most: The number of records; what is beyond is counted, too.
        from_exec: Begin when the process calls execve(2), if the source can; for a command that is about to start.

    Raises:
        SourceUnavailableError: It cannot work here; says why and what to type.
        NoSuchProcessError: There is no such process.
        TargetError: There is no such source, or a number is none.

    """
    name = arguments.text(source, "source", f"type one of {AUTO}, {', '.join(NAMES)}")
    pid = None if pid is None else arguments.process(pid)
    buffer = arguments.integer(buffer, "buffer", "type its bytes, such as 67108864", least=_LEAST)
    most = arguments.integer(most, "most", "type a number of faults, such as 1000000", least=1)
    if name not in {AUTO, *NAMES}:
        near = did_you_mean(name, (AUTO, *NAMES))
        message = f"source {arguments.shown(name)} does not exist; type one of {AUTO}, {', '.join(NAMES)}{near}"
        raise TargetError(message)
    wanted = Wanted(None if pid == os.getpid() else pid, bool(children), buffer, most, bool(from_exec))
    notes: list[str] = []
    for one in NAMES if name == AUTO else (name,):
        try:
            found = _SOURCES[one](wanted)
        except SourceUnavailableError as error:
            if name != AUTO:
                raise
            notes.append(str(error))
        else:
            found.notes = tuple(notes)
            return found
    raise AssertionError  # rusage works everywhere
