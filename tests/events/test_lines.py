"""Which line ran when: functions, generators, threads, exceptions, several traces at once, and that nothing is left."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from handmade import NOHUGEPAGE, PAGE, write

from pte_magic.errors import ResourceError
from pte_magic.events import line_hooks, lines
from pte_magic.events.line_records import Recorder
from pte_magic.events.lines import LineTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import CodeType

    from handmade import NewMap

    from pte_magic.events.line_records import Lines

PAGES = 32
HAS_MONITORING = hasattr(sys, "monitoring")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = sys.gettrace(), threading.gettrace()
    yield
    assert (sys.gettrace(), threading.gettrace()) == before
    assert (lines._shared._users, lines._shared._hook) == (0, None)
    if HAS_MONITORING:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from 3.12 on
        assert "pte_magic" not in [monitoring.get_tool(one) for one in range(6)]


def first() -> int:
    value = 1
    return value + 1


def second() -> int:
    return first() + 1


def several() -> Iterator[int]:
    yield 1
    yield 2


def fails() -> None:
    message = "wrong"
    raise ValueError(message)


def traced(function: Callable[[], object], *, counts: bool = False) -> Lines:
    """Trace what a function runs."""
    trace = LineTrace(counts=counts)
    trace.start(None)
    try:
        function()
    finally:
        found = trace.stop()
    return found


def ran(found: Lines, *functions: Callable[..., object]) -> list[tuple[str, int]]:
    """Return the functions and the lines in them, from 0 on, one after the other as they ran in this thread."""
    codes: dict[str, CodeType] = {one.__name__: one.__code__ for one in functions}
    own = found.tid == threading.get_native_id()
    shown = [found.places[at] for at in found.place[own].tolist() if at >= 0]
    return [
        (place.function, place.line - codes[place.function].co_firstlineno)
        for place in shown
        if place.function in codes
    ]


def test_lines_are_in_order_with_those_of_the_functions_that_they_call() -> None:
    found = ran(traced(second), first, second)
    assert found == [("second", 0), ("second", 1), ("first", 0), ("first", 1), ("first", 2), ("second", 1)]


def test_a_generator_goes_on_where_it_was() -> None:
    def loop() -> None:
        for _ in several():
            str(1)

    found = ran(traced(loop), several, loop)
    assert found[:7] == [
        ("loop", 0), ("loop", 1), ("several", 0), ("several", 1), ("loop", 1), ("loop", 2), ("loop", 1),
    ]  # fmt: skip
    assert found[7:10] == [("several", 1), ("several", 2), ("loop", 1)]


def test_after_an_exception_the_line_is_the_caller_s() -> None:
    def catches() -> None:
        try:
            fails()
        except ValueError:
            first()

    found = ran(traced(catches), catches, fails)
    assert found[:5] == [("catches", 0), ("catches", 1), ("catches", 2), ("fails", 0), ("fails", 1)]
    at = found.index(("fails", 2))
    assert found[at + 1 :][0][0] == "catches"
    assert ("catches", 4) in found


def test_code_that_is_installed_has_no_lines_of_its_own() -> None:
    def calls() -> None:
        sorted([3, 1, 2], key=lambda value: -value)
        np.testing.assert_array_equal(np.ones(3), np.ones(3))

    files = {place.file for place in traced(calls).places}
    assert files == {__file__}
    assert not lines.is_users(np.testing.assert_array_equal.__code__)
    assert not lines.is_users(LineTrace.start.__code__)
    assert lines.is_users(first.__code__)


def test_times_are_of_the_clock_of_faults() -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    found = traced(second)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert len(found.time) > 5
    assert (np.diff(found.time.astype(np.int64)) >= 0).all()
    assert before <= int(found.time[0])
    assert int(found.time[-1]) <= after


def test_a_moment_has_the_line_that_ran() -> None:
    moments = []

    def waits() -> None:
        moments.append(time.monotonic_ns())
        moments.append(time.monotonic_ns())

    found = traced(waits)
    tid = np.full(2, threading.get_native_id(), np.uint32)
    place, is_library = found.at(np.array(moments, np.uint64), tid)
    first_line = waits.__code__.co_firstlineno
    assert [found.places[at].line - first_line for at in place.tolist()] == [1, 2]
    assert not is_library.any()
    place, is_library = found.at(np.array(moments, np.uint64), np.full(2, 1, np.uint32))  # a thread without Python
    assert [found.places[at].line - first_line for at in place.tolist()] == [1, 2]
    assert is_library.all()
    place, _ = found.at(np.array([1], np.uint64), tid[:1])  # long before
    assert place.tolist() == [-1]


def test_threads_that_begin_meanwhile_have_their_own_lines() -> None:
    tids = []

    def work() -> None:
        tids.append(threading.get_native_id())

    def starts() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    found = traced(starts)
    rows = found.tid == tids[0]
    names = {found.places[at].function for at in found.place[rows].tolist() if at >= 0}
    assert names == {"work"}
    assert found.place[rows][-1] == -1  # it ended


def test_lines_of_frames_that_run_already_are_traced() -> None:
    trace = LineTrace()
    trace.start(sys._getframe())
    value = 1
    value += 1
    found = trace.stop()
    here = sys._getframe().f_lineno
    assert {here - 2, here - 3} <= {place.line for place in found.places if place.file == __file__}


@pytest.mark.parametrize("where", ["here", "in a thread"])
def test_faults_are_counted_for_the_line_that_made_them(new_map: NewMap, where: str) -> None:
    address = new_map(3 * PAGES * PAGE, advice=NOHUGEPAGE)

    def touches() -> None:
        write(address, PAGES * PAGE)
        write(address, PAGES * PAGE)
        write(address + PAGES * PAGE, 2 * PAGES * PAGE)

    def in_thread() -> None:
        thread = threading.Thread(target=touches)
        thread.start()
        thread.join()

    touches_once = touches if where == "here" else in_thread
    write(new_map(PAGE), PAGE)  # code that runs for the first time has faults of its own
    found = traced(touches_once, counts=True)
    line = write.__code__.co_firstlineno
    by_line = {found.places[at].line: sum(counts) for at, counts in found.counts.items() if at >= 0}
    total = sum(count for number, count in by_line.items() if line < number <= line + 2)
    assert 3 * PAGES <= total < 4 * PAGES  # some more: the interpreter runs in these lines, too


def test_two_traces_at_once_each_have_what_ran_in_their_time() -> None:
    outer, inner = LineTrace(), LineTrace()
    outer.start(None)
    first()
    inner.start(None)
    second()
    inside = inner.stop()
    first()
    outside = outer.stop()
    assert [name for name, _ in ran(inside, first, second)].count("second") == 3
    assert ran(outside, first)[:3] == [("first", 0), ("first", 1), ("first", 2)]
    assert len([pair for pair in ran(outside, first) if pair == ("first", 1)]) == 3
    assert len([pair for pair in ran(inside, first) if pair == ("first", 1)]) == 1


def test_a_trace_that_counts_and_one_that_does_not_at_once(new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    times, counts = LineTrace(), LineTrace(counts=True)
    times.start(None)
    counts.start(None)
    write(address, PAGES * PAGE)
    counted, timed = counts.stop(), times.stop()
    assert sum(sum(pair) for at, pair in counted.counts.items() if at >= 0) >= PAGES
    assert timed.counts == {}
    assert "write" in {place.function for place in timed.places}


@pytest.mark.skipif(HAS_MONITORING, reason="from Python 3.12 on, sys.settrace is not used")
def test_a_debugger_is_not_disturbed() -> None:
    def debugger(*_: object) -> None:
        return None

    sys.settrace(debugger)
    try:
        with pytest.raises(ResourceError, match=r"something else, such as a debugger, .* type --no-lines"):
            LineTrace().start(None)
        assert sys.gettrace() is debugger
    finally:
        sys.settrace(None)


@pytest.mark.skipif(not HAS_MONITORING, reason="sys.monitoring is new in Python 3.12")
def test_if_all_tools_are_taken_it_says_by_whom() -> None:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from 3.12 on
    taken = [one for one in range(6) if monitoring.get_tool(one) is None]
    for one in taken[:-1]:
        monitoring.use_tool_id(one, "a debugger")
    try:
        assert len(traced(first).time)  # one is free
        monitoring.use_tool_id(taken[-1], "a debugger")
        with pytest.raises(ResourceError, match=r"taken, by .*a debugger; .* type --no-lines"):
            LineTrace().start(None)
        monitoring.free_tool_id(taken[-1])
    finally:
        for one in taken[:-1]:
            monitoring.free_tool_id(one)


def test_a_forked_child_is_not_traced() -> None:
    trace = LineTrace()
    trace.start(None)
    pid = os.fork()
    if not pid:
        is_clean = sys.gettrace() is None and lines._shared._hook is None
        os._exit(0 if is_clean else 1)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    first()
    assert ("first", 1) in ran(trace.stop(), first)


def test_where_there_is_no_more_room_later_lines_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ROOM", 1 << 12)
    moments = [0, 0]

    def loops() -> None:
        for number in range(1 << 12):
            moments[number > 10] = time.monotonic_ns()
            str(number)

    found = traced(loops)
    assert found.full is not None
    assert len(found.time) == 1 << 12
    place, _ = found.at(np.array(moments, np.uint64), np.full(2, threading.get_native_id(), np.uint32))
    assert place[0] >= 0
    assert place[1] == -1


def test_memory_of_the_records_is_known() -> None:
    found = traced(second)
    assert len(found.own) >= 1
    assert (found.own[:, 1] - found.own[:, 0] >= 16 * len(found.time) // len(found.own)).all()


def test_a_trace_that_did_not_begin_can_be_cancelled() -> None:
    LineTrace().cancel()
    with pytest.raises(RuntimeError, match="was not started"):
        LineTrace().stop()


@pytest.mark.parametrize("name", ["gone/relative.py", "no\0file.py", "\udcff\ud800.py"])
def test_names_that_no_file_has_disturb_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "removed"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    code = compile("value = 1\nvalue += 1", "made.py", "exec").replace(co_filename=name)
    names: dict[str, Any] = {}
    trace = LineTrace()
    trace.start()
    exec(code, names)  # noqa: S102  (the code of this test)
    found = trace.stop()
    assert names["value"] == 2
    assert [place.line for place in found.places if place.file == name] == [1, 2]


def test_code_without_lines_disturbs_nothing() -> None:
    code = compile("def add():\n  return [1]\n\nvalue = len(add())\nvalue += 1", "made.py", "exec").replace(
        co_firstlineno=2**31 - 1
    )
    names: dict[str, Any] = {}
    trace = LineTrace()
    trace.start()
    exec(code, names)  # noqa: S102  (the code of this test)
    trace.stop()
    assert names["value"] == 2


def started_and_ended(trace: LineTrace) -> None:
    trace.start()
    trace.cancel()


def test_an_interrupt_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the hook is half set, and while it is half taken away."""
    made = line_hooks.hook(Recorder(lines.is_users, 0))
    for name in ("start", "stop"):
        whole = getattr(type(made), name)

        def interrupted(*args: Any, _whole: Callable[..., None] = whole) -> None:
            signal.raise_signal(signal.SIGINT)
            _whole(*args)
            signal.raise_signal(signal.SIGINT)

        with monkeypatch.context() as patched:
            patched.setattr(type(made), name, interrupted)
            trace = LineTrace()
            with pytest.raises(KeyboardInterrupt):
                started_and_ended(trace)
            trace.cancel()  # as its owner does
        assert (lines._shared._users, lines._shared._hook) == (0, None)
