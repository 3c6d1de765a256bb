"""`LineTrace`: which line of the user's Python ran when, in which thread, and how many faults it had."""

from __future__ import annotations

import functools
import os
import site
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.events.line_hooks import hook
from pte_magic.events.line_records import Recorder
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from pte_magic.events.line_hooks import Monitoring, Settrace
    from pte_magic.events.line_records import Lines

ROOM = 4_000_000
"""How many changes of lines are recorded at most, in all threads: 16 bytes each."""
_PACKAGE = str(Path(__file__).parent.parent)
_CELLS = (
    "<ipython-input-",
    "<stdin>",
    "<python-input-",
    "<timed exec>",
    "<timed eval>",
)  # files that are not files, and are the user's
_INSTALLED = ("/site-packages/", "/dist-packages/")


class LineTrace:
    """A trace of the user's lines, from `start` to `stop`; several at once share one hook into Python.

    The user's code is all that is not installed: not Python's own library, not site-packages, and not this package.
    A line has all that runs below it, down to C.
    """

    def __init__(self, *, counts: bool = False) -> None:
        """Prepare it.

        Args:
            counts: Count minor and major faults of each line (getrusage(2), RUSAGE_THREAD), and do not record times.

        """
        self._counts = counts
        self._recorder: Recorder | None = None
        self._since = self._tid = 0
        self._before: dict[tuple[int, int], tuple[int, int]] = {}

    def start(self, frame: FrameType | None = None) -> None:
        """Begin.

        Args:
            frame: A frame that runs now; its lines, and those of the user's frames above it, are traced, too.

        Raises:
            ResourceError: Something else traces lines, and says what.

        """
        with deferred():  # or a trace would run that nobody knows of
            self._recorder = _shared.begin(frame, counts=self._counts)
        records = self._recorder.thread()
        records.record(self._recorder.seen(frame))
        records.sample()
        self._before = self._recorder.counted()
        self._since, self._tid = time.monotonic_ns(), records.tid

    def leave(self) -> None:
        """Let this thread run no line of the user from now on: the caller goes on for itself."""
        if self._recorder is not None:
            self._recorder.thread().record(0)

    def stop(self) -> Lines:
        """End, and return the lines."""
        recorder = self._recorder
        if recorder is None:
            message = "the trace was not started"
            raise RuntimeError(message)
        recorder.thread().sample()
        self.cancel()
        found = recorder.lines(self._since, self._tid, self._before)
        return found if self._counts else found._replace(counts={})

    def cancel(self) -> None:
        """End, if it began."""
        with deferred():  # or half of the hook would stay
            if self._recorder is not None:
                self._recorder = None
                _shared.end(counts=self._counts)


class _Shared:
    """The one hook of this process, and how many traces use it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._users = 0
        self._recorder: Recorder | None = None
        self._hook: Settrace | Monitoring | None = None

    def begin(self, frame: FrameType | None, *, counts: bool) -> Recorder:
        with self.lock:
            if self._recorder is None or self._hook is None:
                self._recorder = Recorder(is_users, ROOM)
                made = hook(self._recorder)
                try:
                    self._add(counts=counts, number=1)
                    made.start(frame)
                except BaseException:
                    self._recorder = None
                    made.stop()
                    raise
                self._hook = made
            else:
                self._add(counts=counts, number=1)
                self._hook.join(frame)
            self._users += 1
            return self._recorder

    def end(self, *, counts: bool) -> None:
        with self.lock:
            self._users -= 1
            self._add(counts=counts, number=-1)
            if not self._users and self._hook is not None:
                self._hook.stop()
                self._recorder = self._hook = None

    def _add(self, *, counts: bool, number: int) -> None:
        if self._recorder is None:
            return
        if counts:
            self._recorder.counts += number
        elif self._recorder.full is None:
            self._recorder.records += number

    def in_child(self) -> None:
        self.lock = threading.Lock()
        if self._hook is not None:
            self._hook.stop()
        self._users, self._recorder, self._hook = 0, None, None


def is_users(code: CodeType) -> bool:
    """Tell whether a code is the user's: neither installed nor this package's."""
    return _is_users(code.co_filename)


@functools.lru_cache(maxsize=1 << 12)
def _is_users(file: str) -> bool:
    if file.startswith("<"):
        return file.startswith(_CELLS)
    try:
        path = os.path.realpath(file)
    except (OSError, ValueError):  # its folder was removed; or code that a tool made, with a name that no file can have
        path = file
    return not path.startswith(_installed()) and not any(part in path for part in _INSTALLED)


@functools.cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(dict.fromkeys(f"{os.path.realpath(path)}/" for path in [*found, _PACKAGE]))


_shared = _Shared()
os.register_at_fork(after_in_child=_shared.in_child)
