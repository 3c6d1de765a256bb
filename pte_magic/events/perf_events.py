"""The source `perf`: page faults as samples of perf events, with no entries; root is not needed everywhere.

Each thread has two events on each processor, for minor and for major faults: they come after a fault was completed, and
`getrusage` counts the same ones. New threads inherit them. The events of a processor and a kind write into one ring
buffer. A sample does not tell of which event it is if a fault makes several, as when there are two traces: the kernel
prepares it once for all of them (perf_prepare_sample(), kernel/events/core.c, since 6.2).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.errors import NoSuchProcessError, PteMagicError, SourceUnavailableError
from pte_magic.events import perf_open
from pte_magic.events.fault_record import MAJOR, NOT_READ, RECORD, USER, Faults
from pte_magic.events.perf_ring import IN_USER_MODE, SAMPLE_BYTES, SAMPLES, Key, Ring, made
from pte_magic.events.source import FaultSource, Wanted
from pte_magic.events.totals import Moment, last_moment, moment, totals
from pte_magic.linux import descriptors
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 16  # to list threads
_KINDS = (perf_open.PAGE_FAULTS_MIN, perf_open.PAGE_FAULTS_MAJ)


class _Event(NamedTuple):
    fd: int
    key: Key


class PerfFaults(FaultSource):
    """Samples of all faults of a process that the kernel completed."""

    name = "perf"

    def __init__(self, wanted: Wanted) -> None:
        """Attach to all threads of a process.

        Raises:
            SourceUnavailableError: The kernel does not allow it; says what to type.
            NoSuchProcessError: There is no such process.
            ResourceError: There are too many threads and processors for the descriptors of this process.

        """
        super().__init__(wanted)
        self._pid = os.getpid() if wanted.pid is None else wanted.pid
        self._events: list[_Event] = []
        self._rings: dict[Key, Ring] = {}
        self._user_only = False
        self._begin = Moment(0, totals(wanted.pid), 0)
        try:
            self._processors = perf_open.processors()
            self._attach()
        except PteMagicError:  # some are an OSError, too
            self.close()
            raise
        except OSError as error:
            self.close()
            raise self._why(error) from error
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        """Open the events of all threads; threads that begin meanwhile are found when they are listed again."""
        known: set[int] = set()
        for _ in range(_ROUNDS):
            found = self._threads() - known
            if not found:
                break
            for tid in sorted(found):
                self._attach_to(tid)
            known |= found
        if not self._events:
            raise NoSuchProcessError(self._pid)
        owners = {one.key: one.fd for one in reversed(self._events)}
        with deferred():  # or a ring would be mapped that nobody knows of
            most = self._wanted.most * SAMPLE_BYTES * 2  # as sizes are rounded down to a power of two
            self._rings = made(owners, min(self._wanted.buffer // len(owners), most))
        for one in self._events:
            if one.fd != owners[one.key]:
                perf_open.output_to(one.fd, owners[one.key])

    def _threads(self) -> set[int]:
        try:
            return {int(name) for name in os.listdir(f"/proc/{self._pid}/task")}  # noqa: PTH208  (names only)
        except FileNotFoundError:
            raise NoSuchProcessError(self._pid) from None

    def _attach_to(self, tid: int) -> None:
        for cpu in self._processors:
            for kind in _KINDS:
                with deferred():  # or a descriptor would be open that nobody knows of
                    fd = self._opened(kind, tid, cpu)
                    if fd is not None:
                        self._events.append(_Event(fd, (cpu, kind == perf_open.PAGE_FAULTS_MAJ)))

    def _opened(self, kind: int, tid: int, cpu: int) -> int | None:
        """Return the descriptor of a new event; None if the thread has ended."""
        while True:
            try:
                return perf_open.open_event(
                    kind,
                    tid,
                    cpu,
                    sample=SAMPLES,
                    inherit=True,
                    children=self._wanted.children,
                    user_only=self._user_only,
                    from_exec=self._wanted.from_exec,
                )
            except ProcessLookupError:
                return None
            except PermissionError:
                if self._user_only:
                    raise
                self._user_only = True  # paranoid 2 allows no more

    def _why(self, error: OSError) -> Exception:
        """Return the error of the package for what the kernel said."""
        if descriptors.missing(error):
            return descriptors.none_free()
        level = perf_open.paranoid()
        if level is None or error.errno in (errno.ENOSYS, errno.ENOENT):
            return SourceUnavailableError(
                self.name, "this kernel has no perf events; boot one with CONFIG_PERF_EVENTS=y"
            )
        if not isinstance(error, PermissionError):
            return SourceUnavailableError(self.name, f"the kernel did not open its events: {error.strerror}")
        if level > 2:  # noqa: PLR2004  (a patch of Debian, Ubuntu and Android has 3 and 4)
            why = f"kernel.perf_event_paranoid is {level}, which leaves perf events to root"
            return SourceUnavailableError(self.name, f"{why}; as root: `sysctl kernel.perf_event_paranoid=2`")
        why = f"pid {self._pid}: no permission for perf events: it is another user's, or a container forbids them"
        return SourceUnavailableError(self.name, f"{why}; become its user, or root, or give the container CAP_PERFMON")

    def start(self) -> None:
        """Begin: faults from now on are recorded."""
        if not self._wanted.from_exec:
            for one in self._events:
                perf_open.enable(one.fd)
        self._begin = moment(self._wanted.pid, self._count)

    def stop(self) -> Faults:
        """End, and return what was recorded."""
        if not self._events:
            raise self._closed()
        end = last_moment(self._wanted, self._count)
        for one in self._events:
            perf_open.disable(one.fd)
        parts = [self._records(key) for key in self._rings]
        records = np.concatenate(parts)
        records = records[(records["time"] >= self._begin.time) & (records["time"] <= end.time)]
        lost = max(end.events - self._begin.events - len(records), 0)
        records = _each_once(records)
        if not self._wanted.children:
            records = records[records["pid"] == self._pid]
        lost += max(len(records) - self._wanted.most, 0)
        minor, major = end.totals - self._begin.totals
        notes = self._notes(lost)
        return Faults(records[: self._wanted.most], lost, self.name, minor, major, self._begin.time, end.time, notes)

    def _count(self) -> int:
        """Return how many samples there were, those included for which there was no room."""
        return sum(perf_open.count(one.fd) for one in self._events)

    def _records(self, key: Key) -> NDArray[np.void]:
        """Return the samples of a ring as records."""
        samples = self._rings[key].samples()
        found = np.zeros(len(samples), RECORD)
        for name in ("time", "address", "ip", "tid", "pid"):
            found[name] = samples[name]
        found["level_before"] = found["level_after"] = NOT_READ
        found["flags"] = np.where(samples["misc"] & 7 == IN_USER_MODE, USER, 0) | (MAJOR if key[1] else 0)
        return found

    def _notes(self, lost: int) -> tuple[str, ...]:
        notes = [*self.notes, "entries, and faults that were refused, are not seen by perf events"]
        if self._user_only:
            why = "faults within system calls are not seen, as kernel.perf_event_paranoid is 2 or more"
            notes.append(f"{why}; as root: `sysctl kernel.perf_event_paranoid=1`")
        held = sum(ring.size for ring in self._rings.values())
        if lost and held < self._wanted.buffer // 2:
            why = f"the buffer has {held >> 10:,} KiB, as this user may have no more"
            notes.append(f"{why}; as root: `sysctl kernel.perf_event_mlock_kb={self._wanted.buffer >> 10}`")
        return tuple(notes)

    def close(self) -> None:
        """Detach from the process; a second call does nothing."""
        with deferred():
            for ring in self._rings.values():
                ring.close()
            self._rings.clear()
            for one in self._events:
                os.close(one.fd)
            self._events.clear()

    def abandon(self) -> None:
        """Give up, in a forked child, the descriptors that are the parent's."""
        for ring in self._rings.values():
            ring.abandon()
        self.close()

    def __del__(self) -> None:
        self.close()


def _each_once(records: NDArray[np.void]) -> NDArray[np.void]:
    """Return records in the order of their times, each fault once.

    A thread that began while the source was attached may have events of its own and inherited ones.
    """
    order = np.lexsort([records[name] for name in ("ip", "address", "tid", "time")])
    found = records[order]
    same = np.ones(max(len(found) - 1, 0), bool)
    for name in ("time", "tid", "address", "ip"):
        same &= found[name][1:] == found[name][:-1]
    return np.asarray(found[np.concatenate([np.ones(min(len(found), 1), bool), ~same])])
