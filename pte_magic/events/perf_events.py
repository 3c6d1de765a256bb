"""The source `perf`: page faults as samples of perf events, with no entries; root is not needed everywhere.

Each thread has two events on each processor, for minor and for major faults: they come after a fault was completed, and
`getrusage` counts the same ones. New threads inherit them. All events of a processor write into one ring buffer.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.errors import NoSuchProcessError, SourceUnavailableError
from pte_magic.events import perf_open
from pte_magic.events.fault_record import MAJOR, NOT_READ, RECORD, USER, Faults
from pte_magic.events.perf_ring import IN_USER_MODE, SAMPLES, Ring
from pte_magic.events.source import FaultSource, Wanted
from pte_magic.events.totals import totals
from pte_magic.linux import descriptors
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 16  # to list threads
_KINDS = (perf_open.PAGE_FAULTS_MIN, perf_open.PAGE_FAULTS_MAJ)


class _Event(NamedTuple):
    fd: int
    tid: int  # the thread that it was opened for
    is_major: bool


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
        self._rings: dict[int, Ring] = {}  # by processor
        self._user_only = False
        self._begin, self._before = 0, totals(wanted.pid)
        try:
            self._processors = perf_open.processors()
            self._attach()
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

    def _threads(self) -> set[int]:
        try:
            return {int(name) for name in os.listdir(f"/proc/{self._pid}/task")}  # noqa: PTH208  (names only)
        except FileNotFoundError:
            raise NoSuchProcessError(self._pid) from None

    def _attach_to(self, tid: int) -> None:
        for cpu in self._processors:
            for kind in _KINDS:
                fd = self._opened(kind, tid, cpu)
                if fd is not None and cpu in self._rings:
                    perf_open.output_to(fd, self._rings[cpu].fd)
                elif fd is not None:
                    self._rings[cpu] = Ring(fd, self._wanted.buffer // len(self._processors))

    def _opened(self, kind: int, tid: int, cpu: int) -> int | None:
        """Return the descriptor of a new event; None if the thread has ended."""
        while True:
            try:
                with deferred():  # or a descriptor would be open that nobody knows of
                    fd = perf_open.open_event(
                        kind,
                        tid,
                        cpu,
                        sample=SAMPLES,
                        inherit=True,
                        children=self._wanted.children,
                        user_only=self._user_only,
                        from_exec=self._wanted.from_exec,
                    )
                    self._events.append(_Event(fd, tid, kind == perf_open.PAGE_FAULTS_MAJ))
            except ProcessLookupError:
                return None
            except PermissionError:
                if self._user_only:
                    raise
                self._user_only = True  # paranoid 2 allows no more
            else:
                return fd

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
        totals(self._wanted.pid)  # what this takes in memory, it has then
        self._begin = time.monotonic_ns()
        self._before = totals(self._wanted.pid)

    def stop(self) -> Faults:
        """End, and return what was recorded."""
        end = time.monotonic_ns()
        if not self._events:
            raise self._closed()
        minor, major = (-1, -1) if self._wanted.children else totals(self._wanted.pid) - self._before
        for one in self._events:
            perf_open.disable(one.fd)
        parts = [ring.samples() for ring in self._rings.values()]
        samples = np.concatenate(parts)
        lost = sum(perf_open.count(one.fd) for one in self._events) - len(samples)
        samples = samples[np.argsort(samples["time"], kind="stable")]
        records = self._records(samples[(samples["time"] >= self._begin) & (samples["time"] <= end)])
        lost += max(len(records) - self._wanted.most, 0)
        notes = self._notes(lost)
        return Faults(records[: self._wanted.most], lost, self.name, minor, major, self._begin, end, notes)

    def _records(self, samples: NDArray[np.void]) -> NDArray[np.void]:
        """Return samples as records, each fault once."""
        by_id = sorted((perf_open.identity(one.fd), one.tid, one.is_major) for one in self._events)
        ids, tids, is_major = (np.array(column) for column in zip(*by_id, strict=True))
        at = np.searchsorted(ids.astype(np.uint64), samples["id"])
        # A thread that began while we attached may have events of its own and inherited ones: its own are counted.
        is_double = np.isin(samples["tid"], tids.astype(np.uint32)) & (samples["tid"] != tids[at])
        kept, at = samples[~is_double], at[~is_double]
        if not self._wanted.children:
            at, kept = at[kept["pid"] == self._pid], kept[kept["pid"] == self._pid]
        found = np.zeros(len(kept), RECORD)
        for name in ("time", "address", "ip", "tid", "pid"):
            found[name] = kept[name]
        found["level_before"] = found["level_after"] = NOT_READ
        found["flags"] = np.where(kept["misc"] & 7 == IN_USER_MODE, USER, 0) | np.where(is_major[at], MAJOR, 0)
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
