"""Hooks into Python that tell when another line runs: sys.monitoring from Python 3.12 on, sys.settrace before."""

from __future__ import annotations

import inspect
import sys
import threading
from typing import TYPE_CHECKING, Any

from pte_magic.errors import ResourceError
from pte_magic.events.line_records import SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from pte_magic.events.line_records import Recorder

NAME = "pte_magic"
_FREE = (4, 3, 2, 5, 1, 0)  # of sys.monitoring's tools: those without a purpose come first
_HAS_NO_COPY = sys.version_info >= (3, 13)
_UNSEEN = 3  # references to a copy of variables that nobody else has: of the frame, here, and in the call
_TAKEN = "; run it without the debugger or coverage tool, or type --no-lines (in Python lines=False)"


def hook(recorder: Recorder) -> Settrace | Monitoring:
    """Return what this Python has."""
    return Monitoring(recorder) if hasattr(sys, "monitoring") else Settrace(recorder)


def copies(frame: FrameType) -> bool:
    """Tell whether ``f_locals`` of a frame is a copy that the frame keeps: of functions, until Python 3.13."""
    return bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED) and not _HAS_NO_COPY


def let_go(frame: FrameType) -> None:
    """Let a function's frame forget the copy of its variables that ``f_locals`` and tracing make.

    Until Python 3.13 (PEP 667) the frame keeps that copy: what the function deletes later would live on with it.
    """
    if not copies(frame):
        return
    copy: Any = frame.f_locals
    if sys.getrefcount(copy) <= _UNSEEN:  # or it is what somebody got from locals()
        copy.clear()


class Settrace:
    """A trace function of this thread, and of threads that begin later; others are not traced."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._is_on = False
        self._of_threads: Any = None
        self._set: list[FrameType] = []

    def start(self, frame: FrameType | None) -> None:
        """Begin.

        Args:
            frame: A frame that runs now; its lines, and those of the user's frames above it, are traced, too.

        Raises:
            ResourceError: There is a trace function already.

        """
        if sys.gettrace() is not None:
            message = f"lines cannot be traced: something else, such as a debugger, has set sys.settrace(){_TAKEN}"
            raise ResourceError(message)
        self._is_on = True
        self._of_threads = threading.gettrace()
        threading.settrace(self._called)
        self.join(frame)
        sys.settrace(self._called)

    def join(self, frame: FrameType | None) -> None:
        """Trace the lines of frames that run already."""
        while frame is not None:
            number = self._recorder.number(frame.f_code)
            if number and frame.f_trace is None:
                frame.f_trace = self._local(number)
                self._set.append(frame)
            frame = frame.f_back

    def stop(self) -> None:
        """End; another thread ends it at its next call or line."""
        self._is_on = False
        if sys.gettrace() == self._called:
            sys.settrace(None)
        if threading.gettrace() == self._called:
            threading.settrace(self._of_threads)
        for frame in self._set:
            frame.f_trace = None
            let_go(frame)
        self._set.clear()

    def _called(self, frame: FrameType, event: str, _: object) -> Any:
        if not self._is_on:
            sys.settrace(None)
            return None
        number = self._recorder.number(frame.f_code)
        if not number or event != "call":
            return None
        if frame.f_lineno:  # a generator goes on in the middle of a line
            self._recorder.thread().record(number << SHIFT | frame.f_lineno)
        return self._local(number)

    def _local(self, number: int) -> Callable[..., Any]:
        records = self._recorder.thread()
        found = records.traces.get(number)
        if found is None:
            found = records.traces[number] = self._made(number << SHIFT, records.record)
        return found

    def _made(self, base: int, record: Callable[[int], None]) -> Callable[..., Any]:
        """Return the trace function of one code in one thread."""

        def trace(frame: FrameType, event: str, _: object) -> Any:
            if event == "line":
                record(base | (frame.f_lineno or 0))  # None: code that a tool made without lines
            elif event == "return":
                record(self._recorder.seen(frame.f_back))
            if not self._is_on:
                frame.f_trace = None
                return None
            return trace

        return trace


class Monitoring:
    """A tool of sys.monitoring, for all threads (PEP 669)."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from 3.12 on
        self._tool = -1
        self._codes: list[CodeType] = []
        self._at: dict[CodeType, int] = {}

    def start(self, frame: FrameType | None) -> None:
        """Begin: see `Settrace.start`.

        Raises:
            ResourceError: All tools are in use.

        """
        monitoring = self._monitoring
        self._tool = next((one for one in _FREE if monitoring.get_tool(one) is None), -1)
        if self._tool < 0:
            names = ", ".join(sorted({str(monitoring.get_tool(one)) for one in _FREE}))
            message = f"lines cannot be traced: all tools of sys.monitoring are taken, by {names}{_TAKEN}"
            raise ResourceError(message)
        monitoring.use_tool_id(self._tool, NAME)
        events = monitoring.events
        calls = {
            events.PY_START: self._started,
            events.PY_RESUME: self._resumed,
            events.PY_THROW: self._resumed,
            events.LINE: self._line,
            events.PY_RETURN: self._left,
            events.PY_YIELD: self._left,
            events.PY_UNWIND: self._left,
        }
        for event, function in calls.items():
            monitoring.register_callback(self._tool, event, function)
        self._of_code = events.LINE | events.PY_RESUME | events.PY_RETURN | events.PY_YIELD
        self.join(frame)
        monitoring.set_events(self._tool, events.PY_START | events.PY_RESUME | events.PY_THROW | events.PY_UNWIND)
        monitoring.restart_events()

    def join(self, frame: FrameType | None) -> None:
        """Trace the lines of frames that run already."""
        while frame is not None:
            if number := self._recorder.number(frame.f_code):
                self._follow(frame.f_code, number)
            frame = frame.f_back

    def stop(self) -> None:
        """End, in all threads."""
        monitoring, tool = self._monitoring, self._tool
        if tool < 0:
            return
        self._tool = -1
        monitoring.set_events(tool, 0)
        for code in self._codes:
            monitoring.set_local_events(tool, code, 0)
        for event in ("PY_START", "PY_RESUME", "PY_THROW", "LINE", "PY_RETURN", "PY_YIELD", "PY_UNWIND"):
            monitoring.register_callback(tool, getattr(monitoring.events, event), None)
        monitoring.free_tool_id(tool)

    def _follow(self, code: CodeType, number: int) -> None:
        if number not in self._at.values():
            self._at[code] = number
            self._codes.append(code)
            self._monitoring.set_local_events(self._tool, code, self._of_code)

    def _started(self, code: CodeType, *_: object) -> Any:
        number = self._recorder.number(code)
        if not number:
            return self._monitoring.DISABLE
        if self._tool >= 0:
            self._follow(code, number)
            self._recorder.thread().record(number << SHIFT | code.co_firstlineno)
        return None

    def _resumed(self, code: CodeType, *_: object) -> None:
        number = self._recorder.number(code)
        if number and self._tool >= 0:
            self._follow(code, number)
            self._recorder.thread().record(number << SHIFT | (sys._getframe(1).f_lineno or 0))  # noqa: SLF001  (as tracers do)

    def _line(self, code: CodeType, line: int) -> None:
        self._recorder.thread().record(self._recorder.number(code) << SHIFT | max(line, 0))

    def _left(self, code: CodeType, *_: object) -> None:
        if self._recorder.number(code):
            self._recorder.thread().record(self._recorder.seen(sys._getframe(1).f_back))  # noqa: SLF001  (as above)
