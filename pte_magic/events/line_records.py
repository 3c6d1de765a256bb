"""Records of which line ran when: written by each thread into memory of its own, and looked up by time."""

from __future__ import annotations

import resource
import threading
import time
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from numpy.typing import NDArray

SHIFT = 32
"""A place is the number of a code shifted left by so many bits, and a line; 0 stands for none."""
_LINE = (1 << SHIFT) - 1
_FIRST, _MOST = 1 << 12, 1 << 16  # records of a block: of a thread's first one, and of the largest
_MINOR, _MAJOR = 6, 7  # the places of ru_minflt and ru_majflt in struct_rusage
_WORD = 8


class Place(NamedTuple):
    """A line of Python.

    Attributes:
        file: The name of its file or cell, as Python has it.
        function: The function that it is in; ``<module>`` outside of functions.
        line: Its number, from 1 on.

    """

    file: str
    function: str
    line: int


class Lines(NamedTuple):
    """The line that each thread ran, from one record of the thread to its next.

    Attributes:
        time: Times in ns of CLOCK_MONOTONIC; ascending for each thread, ``uint64[n]``.
        tid: Threads, by the kernel's number, ascending, ``uint32[n]``.
        place: Indices into `places`, ``int32[n]``; -1 while no line of the user ran.
        places: The lines.
        counts: Minor and major faults of each place while it ran, if they were counted.
        first_tid: The thread that began the trace.
        full: The time from which on lines were not recorded, as there was no room; None if there was.
        own: First addresses, and first addresses after, of the memory that the records are in, ``uint64[m, 2]``.

    """

    time: NDArray[np.uint64]
    tid: NDArray[np.uint32]
    place: NDArray[np.int32]
    places: list[Place]
    counts: dict[int, tuple[int, int]]
    first_tid: int
    full: int | None
    own: NDArray[np.uint64]

    def at(self, time: NDArray[np.uint64], tid: NDArray[np.uint32]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the line that was under way at moments.

        Args:
            time: Times, ``uint64[n]``.
            tid: The threads, ``uint32[n]``.

        Returns:
            Indices into `places`, ``int32[n]``, -1 for no line; and whether the thread has no lines of its own, as
            those of libraries, so that the line is that of the first thread, ``bool[n]``.

        """
        found = np.full(len(time), -1, np.int32)
        own = np.unique(self.tid)
        is_other = ~np.isin(tid, own)
        whose = np.where(is_other, np.uint32(self.first_tid), tid)
        for one in own:
            rows = np.flatnonzero(whose == one)
            first, last = np.searchsorted(self.tid, [one, one + np.uint32(1)])
            at = np.searchsorted(self.time[first:last], time[rows], side="right") - 1
            found[rows] = np.where(at >= 0, self.place[first:last][np.maximum(at, 0)], -1)
        if self.full is not None:
            found[time >= np.uint64(self.full)] = -1
        return found, is_other & (found >= 0)


class ThreadRecords:
    """The records of one thread: times and places, in blocks that are touched before they are written to.

    Attributes:
        tid: The thread, by the kernel's number.
        counts: Minor and major faults by place.
        record: The function that is called with the place that runs from now on.
        traces: Python's trace functions of this thread by number of their code: see `line_hooks`.

    """

    def __init__(self, recorder: Recorder) -> None:
        self.tid = threading.get_native_id()
        self.counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        self.traces: dict[int, Callable[..., object]] = {}
        self._blocks: list[array[int]] = []
        self._used: Callable[[], int] = lambda: 0
        self.record, self.sample = self._functions(recorder)

    def _functions(self, recorder: Recorder) -> tuple[Callable[[int], None], Callable[[], None]]:
        """Return functions with their variables in closures: attributes would take twice as long."""
        now, thread, counts = time.monotonic_ns, resource.RUSAGE_THREAD, self.counts
        rusage: Any = resource.getrusage
        block: array[int] = array("Q")
        at = end = 0
        last = 0
        known: tuple[int, int] | None = None

        def sample() -> None:
            """Count the faults since the last time for the place that ran until now."""
            nonlocal known
            if not recorder.counts:
                known = None
                return
            found = rusage(thread)
            minor, major = found[_MINOR], found[_MAJOR]
            if known is not None and known != (minor, major):
                count = counts[last]
                count[0] += minor - known[0]
                count[1] += major - known[1]
                found = rusage(thread)  # the first count of a place takes memory
                minor, major = found[_MINOR], found[_MAJOR]
            known = (minor, major)

        def record(place: int) -> None:
            nonlocal block, at, end, last
            if place == last:
                return
            if recorder.counts:
                sample()
            last = place
            if not recorder.records:
                return
            if at == end:
                block = recorder.block(_FIRST << min(2 * len(self._blocks), 4))
                self._blocks.append(block)
                at, end = 0, len(block)
                if not end:
                    return
            block[at] = now()
            block[at + 1] = place
            at += 2

        self._used = lambda: at
        return record, sample

    def written(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return times and places so far, ``uint64[n]`` each."""
        blocks = [np.frombuffer(block, np.uint64) for block in self._blocks if len(block)]
        if blocks and len(self._blocks[-1]):
            blocks[-1] = blocks[-1][: self._used()]
        found = np.concatenate(blocks) if blocks else np.empty(0, np.uint64)
        return found[::2], found[1::2]

    def own(self) -> Iterable[tuple[int, int]]:
        """Yield the addresses of the blocks: the first, and the first after them."""
        for block in self._blocks:
            if len(block):
                start, count = block.buffer_info()
                yield start, start + count * _WORD


class Recorder:
    """All records of this process, from the start of the first trace to the end of the last.

    Attributes:
        codes: The codes of the user that ran; a place has their index.
        records: How many traces want to know when lines ran.
        counts: How many want faults counted.
        full: The time from which on there was no room.

    """

    def __init__(self, is_users: Callable[[CodeType], bool], room: int) -> None:
        """Begin with no records.

        Args:
            is_users: Tells whether a code is the user's; others have no lines.
            room: How many records there may be.

        """
        self.codes: list[CodeType | None] = [None]
        self.records = self.counts = 0
        self.full: int | None = None
        self.threads: list[ThreadRecords] = []
        self._is_users = is_users
        self._room = room
        self._numbers: dict[int, int] = {}
        self._others: list[CodeType] = []
        self._local = threading.local()
        self._lock = threading.Lock()

    def number(self, code: CodeType) -> int:
        """Return the number of a code; 0 if it is not the user's."""
        found = self._numbers.get(id(code))
        if found is not None:
            return found
        is_users = self._is_users(code)  # without the lock: its own lines may be traced
        with self._lock:
            found = self._numbers.get(id(code))
            if found is None:
                found = len(self.codes) if is_users else 0
                (self.codes if found else self._others).append(code)  # held: another code could get the same id
                self._numbers[id(code)] = found
        return found

    def seen(self, frame: FrameType | None) -> int:
        """Return the place of a frame, or of the next one above it that was seen; 0 if there is none."""
        while frame is not None:
            found = self._numbers.get(id(frame.f_code))
            if found:
                return found << SHIFT | (frame.f_lineno or 0)
            frame = frame.f_back
        return 0

    def thread(self) -> ThreadRecords:
        """Return the records of the thread that calls."""
        found: ThreadRecords | None = getattr(self._local, "records", None)
        if found is None:
            found = self._local.records = ThreadRecords(self)
            self.threads.append(found)
        return found

    def block(self, records: int) -> array[int]:
        """Return memory for records, two words for each; nothing if there is no more room."""
        count = min(records, _MOST, self._room)
        if count <= 0:
            self.full = self.full or time.monotonic_ns()
            self.records = 0
            return array("Q")
        self._room -= count
        return array("Q", [0]) * (2 * count)

    def lines(self, since: int, first_tid: int, before: dict[tuple[int, int], tuple[int, int]]) -> Lines:
        """Return the records from a time on, with the place that each thread was at then.

        Args:
            since: The time, in ns.
            first_tid: The thread that began the trace.
            before: The result of `counted` then.

        """
        times, tids, values = [], [], []
        for one in sorted(self.threads, key=lambda thread: thread.tid):
            time_, place = one.written()
            first = max(int(np.searchsorted(time_, np.uint64(since), side="right")) - 1, 0)
            times.append(time_[first:])
            values.append(place[first:])
            tids.append(np.full(len(time_) - first, one.tid, np.uint32))
        value = np.concatenate([np.empty(0, np.uint64), *values])
        tid = np.concatenate([np.empty(0, np.uint32), *tids])
        after = self.counted()
        counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        for key, (minor, major) in after.items():
            old = before.get(key, (0, 0))
            counts[key[1]][0] += minor - old[0]
            counts[key[1]][1] += major - old[1]
        known = np.unique(np.concatenate([value, np.array(list(counts), np.uint64)]))
        known = known[known > 0]
        index = np.searchsorted(known, value).astype(np.int32)
        index[value == 0] = -1
        return Lines(
            np.concatenate([np.empty(0, np.uint64), *times]),
            tid,
            index,
            [self._place(int(one)) for one in known],
            {
                int(np.searchsorted(known, np.uint64(place))) if place else -1: (minor, major)
                for place, (minor, major) in counts.items()
                if minor or major
            },
            first_tid,
            self.full,
            np.array([pair for one in self.threads for pair in one.own()], np.uint64).reshape(-1, 2),
        )

    def counted(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return minor and major faults so far by thread and place."""
        return {
            (at, place): (found[0], found[1])
            for at, one in enumerate(self.threads)
            for place, found in list(one.counts.items())
        }

    def _place(self, value: int) -> Place:
        code = self.codes[value >> SHIFT]
        assert code is not None  # noqa: S101  (0 was left out)
        return Place(code.co_filename, code.co_name, value & _LINE)
