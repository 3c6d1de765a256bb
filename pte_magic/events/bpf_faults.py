"""The source `bpf`: page faults with the entry before and the entry after each, recorded by eBPF programs.

The programs are in ``faults.bpf.c``. They run at each fault of the host while they are attached, and leave at once
if it is of another process. Needs root, or CAP_BPF and CAP_PERFMON.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pte_magic import walkers
from pte_magic.errors import PteMagicError, SourceUnavailableError, WalkerUnavailableError
from pte_magic.events import perf_open
from pte_magic.events.fault_record import RECORD, REFUSED, UNFINISHED, Faults
from pte_magic.events.source import FaultSource, Wanted
from pte_magic.events.totals import Moment, last_moment, moment, totals
from pte_magic.linux import descriptors
from pte_magic.linux.address_space import AddressSpace
from pte_magic.linux.interrupts import deferred
from pte_magic.walkers import replaceable_mapping
from pte_magic.walkers.bpf import constants, libbpf
from pte_magic.walkers.bpf.walker import BpfWalker, may_trace

if TYPE_CHECKING:
    import mmap

    from numpy.typing import NDArray

OBJECT = Path(__file__).with_name("faults.bpf.o")

# The variable `t` of faults.bpf.c.
_ASKED = struct.Struct("=2Q4I")  # direct_map, capacity, active, from_exec, pid, fd
_ACTIVE, _ACTIVE_AT = struct.Struct("=I"), 16
_COUNT, _COUNT_AT = struct.Struct("=Q"), 32
_OK = 0

_PROGRAMS = {
    perf_open.PAGE_FAULTS: "begins",
    perf_open.PAGE_FAULTS_MIN: "ends_minor",
    perf_open.PAGE_FAULTS_MAJ: "ends_major",
}


class BpfFaults(FaultSource):
    """Records of all faults of a process, with entries, of those that were refused, too."""

    name = "bpf"

    def __init__(self, wanted: Wanted) -> None:
        """Load the programs and attach them.

        Raises:
            SourceUnavailableError: The kernel does not allow it; says what to type.
            NoSuchProcessError: There is no such process.
            ResourceError: There are too many processors for the descriptors of this process.

        """
        super().__init__(wanted)
        self._fds: list[int] = []
        self._maps: list[mmap.mmap] = []
        self._object: libbpf.Object | None = None
        self._capacity = max(min(wanted.buffer // RECORD.itemsize, wanted.most), 1)
        self._begin = Moment(0, totals(wanted.pid), 0)
        direct_map = self._direct_map()
        try:
            self._object = self._load()
            self._memory = self._map(".bss", _COUNT_AT + _COUNT.size)
            self._records = self._map("records", self._capacity * RECORD.itemsize)
            self._find(direct_map)
            self._attach()
        except PteMagicError:  # some are an OSError, too
            self.close()
            raise
        except OSError as error:
            self.close()
            if descriptors.missing(error):
                raise descriptors.none_free() from error
            raise SourceUnavailableError(self.name, f"the kernel refused its programs: {_why(error)}") from error
        except BaseException:
            self.close()
            raise

    def _direct_map(self) -> int:
        """Return where the walker found physical memory; it has checked all that eBPF needs."""
        if not may_trace():
            why = "no permission to load eBPF programs; become root, or take CAP_BPF and CAP_PERFMON"
            raise SourceUnavailableError(self.name, why)
        try:
            walker = walkers.get(BpfWalker.name)
        except WalkerUnavailableError as error:
            raise SourceUnavailableError(self.name, error.why) from error
        assert isinstance(walker, BpfWalker)  # noqa: S101  (its name says so)
        return walker.direct_map_at

    def _load(self) -> libbpf.Object:
        if not OBJECT.exists():
            why = f"{OBJECT.name} was not compiled; type `pip install --force-reinstall pte-magic`"
            raise SourceUnavailableError(self.name, why)
        made = libbpf.Object(OBJECT)
        try:
            made.set_constants(constants.packed(use_rcu=False))
            made.set_elements("records", self._capacity)
            for name, is_wanted in self._tracepoints().items():
                if not is_wanted:
                    made.leave_out(name)
            made.load("begin", "finish", *_PROGRAMS.values(), *self._tracepoints())
        except BaseException:
            made.close()
            raise
        return made

    def _tracepoints(self) -> dict[str, bool]:
        return {"forks": self._wanted.children, "execs": self._wanted.from_exec}

    def _map(self, name: str, size: int) -> mmap.mmap:
        assert self._object  # noqa: S101  (for mypy)
        with deferred():
            found = self._object.memory(name, size)
            self._maps.append(found)
        return found

    def _find(self, direct_map: int) -> None:
        """Tell the programs which process to follow."""
        assert self._object  # noqa: S101  (it is loaded before; for the types)
        wanted = self._wanted
        with AddressSpace(wanted.pid) as space:
            asked = direct_map, self._capacity, 0, wanted.from_exec, wanted.pid or 0, space.fileno()
            _ASKED.pack_into(self._memory, 0, *asked)
            if self._object.run("begin") != _OK:
                why = f"the kernel does not tell which process pid {space.pid} of this pid namespace is (CONFIG_MEMCG)"
                raise SourceUnavailableError(self.name, f"{why}; run it in the host's pid namespace")

    def _attach(self) -> None:
        assert self._object  # noqa: S101  (it is loaded before; for the types)
        with deferred():  # or descriptors would be open that nobody knows of
            for name, is_wanted in self._tracepoints().items():
                if is_wanted:
                    self._fds.append(self._object.attach_to_tracepoint(name))
            for event, name in _PROGRAMS.items():
                program = self._object.program(name)
                for cpu in perf_open.processors():
                    self._fds.append(perf_open.open_event(event, -1, cpu))
                    perf_open.attach(self._fds[-1], program)
                    perf_open.enable(self._fds[-1])

    def start(self) -> None:
        """Begin: faults from now on are recorded."""
        if not self._wanted.from_exec:
            _ACTIVE.pack_into(self._memory, _ACTIVE_AT, 1)
        self._begin = moment(self._wanted.pid, self._count)

    def stop(self) -> Faults:
        """End, and return what was recorded."""
        if not self._object:
            raise self._closed()
        end = last_moment(self._wanted, self._count)
        _ACTIVE.pack_into(self._memory, _ACTIVE_AT, 0)
        self._detach()  # the kernel waits for programs that still run
        self._object.run("finish")
        held = min(self._count(), self._capacity)
        records = np.frombuffer(self._records[: held * RECORD.itemsize], RECORD)
        records = records[np.argsort(records["time"], kind="stable")]
        ends = records["time"] + records["ns"]
        records = _settled(records[(ends >= self._begin.time) & (ends <= end.time)])
        lost = end.events - max(self._begin.events, self._capacity)  # these were held, before the begin or after it
        minor, major = end.totals - self._begin.totals
        return Faults(records, max(lost, 0), self.name, minor, major, self._begin.time, end.time, self.notes)

    def _count(self) -> int:
        """Return how many faults began, those included for which there was no room."""
        return int(_COUNT.unpack_from(self._memory, _COUNT_AT)[0])

    def _detach(self) -> None:
        with deferred():
            while self._fds:
                os.close(self._fds.pop())

    def close(self) -> None:
        """Detach the programs and unload them; a second call does nothing."""
        with deferred():
            self._detach()
            for memory in self._maps:
                memory.close()
            self._maps.clear()
            if self._object:
                self._object.close()
            self._object = None

    def abandon(self) -> None:
        """Give up, in a forked child, the descriptors that are the parent's."""
        for memory in self._maps:
            replaceable_mapping.leave(memory)
        self.close()

    def __del__(self) -> None:
        self.close()


def _settled(records: NDArray[np.void]) -> NDArray[np.void]:
    """Return records with faults refused that are under way in threads that have ended since."""
    for at in np.flatnonzero(records["flags"] & UNFINISHED):
        if not Path(f"/proc/{records['pid'][at]}/task/{records['tid'][at]}").exists():
            records["flags"][at] ^= UNFINISHED | REFUSED
    return records


def _why(error: OSError) -> str:
    log = error.log.splitlines()[-4:] if isinstance(error, libbpf.LibbpfError) else []
    return " | ".join([str(error.strerror), *log])
