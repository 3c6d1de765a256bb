"""Totals of minor and major faults as the kernel counts them, and the source `rusage`, which has no more."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.errors import NoSuchProcessError
from pte_magic.events.fault_record import Faults, none
from pte_magic.events.source import FaultSource, Wanted
from pte_magic.linux import kernel_text, process_errors

if TYPE_CHECKING:
    from collections.abc import Callable

_MINOR, _MAJOR = 7, 9  # the places of minflt and majflt in /proc/PID/stat after the name of the process
_TRIES = 100
_OF_CHILDREN = 1  # cminflt and cmajflt come one place after them


class Totals(NamedTuple):
    """Faults since a process began.

    Attributes:
        minor: Minor faults.
        major: Major faults.

    """

    minor: int
    major: int

    def __sub__(self, before: Totals) -> Totals:
        return self if self == UNKNOWN else Totals(self.minor - before.minor, self.major - before.major)


UNKNOWN = Totals(-1, -1)


def totals(pid: int | None = None, *, children: bool = False) -> Totals:
    """Return the faults of a process, of all its threads; anybody may ask.

    Args:
        pid: The process, as in /proc; this one if None.
        children: Add those of its children that have ended and were waited for.

    Raises:
        NoSuchProcessError: There is no such process.

    """
    if pid is None:
        found = [resource.getrusage(resource.RUSAGE_SELF)]
        if children:
            found.append(resource.getrusage(resource.RUSAGE_CHILDREN))
        return Totals(sum(one.ru_minflt for one in found), sum(one.ru_majflt for one in found))
    try:
        fields = kernel_text.read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError as error:
        raise process_errors.as_ours(error, pid) from error
    places = (0, _OF_CHILDREN) if children else (0,)
    return Totals(*(sum(int(fields[at + more]) for more in places) for at in (_MINOR, _MAJOR)))


def of_ended_children() -> int:
    """Return the faults of children that have ended and were waited for."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_minflt + found.ru_majflt


class Moment(NamedTuple):
    """A time, and what had been counted until then.

    Attributes:
        time: ns, CLOCK_MONOTONIC.
        totals: The faults of a process that the kernel has counted; -1 of both if nobody knows.
        events: The faults that a source has counted.

    """

    time: int
    totals: Totals
    events: int


def moment(pid: int | None, events: Callable[[], int]) -> Moment:
    """Return the present moment of a process, with a source's count of its events.

    The look itself, and other threads, may have a fault: then it is taken again, a few times at most.

    Raises:
        NoSuchProcessError: There is no such process.

    """
    before = totals(pid)
    for _ in range(_TRIES):
        now, counted = time.monotonic_ns(), events()
        after = totals(pid)
        if before == after:
            break
        before = after
    return Moment(now, after, counted)


def last_moment(wanted: Wanted, events: Callable[[], int]) -> Moment:
    """Return the present moment; nobody knows the totals with children, or if the process has gone meanwhile."""
    if not wanted.children:
        with suppress(NoSuchProcessError):
            return moment(wanted.pid, events)
    return Moment(time.monotonic_ns(), UNKNOWN, events())


class Rusage(FaultSource):
    """The source that works everywhere, for any process: numbers of faults, and no records."""

    name = "rusage"

    def __init__(self, wanted: Wanted) -> None:
        """Prepare to count.

        Raises:
            NoSuchProcessError: There is no such process.

        """
        super().__init__(wanted)
        self._begin, self._before = 0, self._totals()
        self._last = self._before

    def _totals(self) -> Totals:
        return totals(self._wanted.pid, children=self._wanted.children)

    def start(self) -> None:
        """Begin to count."""
        self._begin = time.monotonic_ns()
        self._before = self._last = self._totals()

    def look(self) -> None:
        """Read the numbers, which go with the process."""
        with suppress(NoSuchProcessError):
            self._last = self._totals()

    def stop(self) -> Faults:
        """Return the numbers since `start`."""
        end = time.monotonic_ns()
        notes = [*self.notes, "faults are counted, and have no addresses"]
        try:
            self._last = self._totals()
        except NoSuchProcessError:
            notes.append("the process has gone: its last faults are not counted")
        minor, major = self._last - self._before
        if self._wanted.children:
            notes.append("a child counts when it has ended and was waited for")
        return Faults(none(), 0, self.name, minor, major, self._begin, end, tuple(notes))

    def close(self) -> None:
        """Do nothing: it holds nothing."""

    def abandon(self) -> None:
        """Do nothing: it holds nothing."""
