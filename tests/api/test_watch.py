"""`watch`: what happens to memory is seen, looks end whenever they should, and nothing is left of them."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import descriptors, forked, python
from handmade import DONTNEED, NOHUGEPAGE, PAGE, madvise, resident, write
from waiting import wait_until

import pte_magic
from pte_magic.api import walk, watch
from pte_magic.api import watch_looks as looks_of_a_watch
from pte_magic.api.watch import Watch
from pte_magic.errors import PteMagicError, TargetError
from pte_magic.views import watch_history
from pte_magic.views.watch_history import Event, History, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handmade import NewMap

OFTEN = 0.01


def looks(seen: Watch) -> int:
    return len(seen.counts())


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    walker = request.getfixturevalue("walker") if "walker" in request.fixturenames else "auto"
    pte_magic.walk(b"x", walker=walker)  # what is opened once is open
    gc.collect()  # what other tests left may end during this one
    before = descriptors(), threading.active_count()
    yield
    gc.collect()
    wait_until(lambda: descriptors() <= before[0] and threading.active_count() <= before[1])


@pytest.fixture
def address(new_map: NewMap) -> int:
    """Eight pages, of which the first is written."""
    found = new_map(8 * PAGE, advice=NOHUGEPAGE)
    write(found)
    return found


def test_every_state_in_which_it_is_seen_is_in_the_frame(address: int, walker: str) -> None:
    with pte_magic.watch(address, address + 8 * PAGE, every=OFTEN, walker=walker) as seen:
        write(address + 3 * PAGE)
        wait_until(lambda: looks(seen) > 1)
        madvise(address, PAGE, DONTNEED)
        wait_until(lambda: looks(seen) > 2)
    frame = seen.frame()
    assert type(frame) is pte_magic.PteFrame
    assert list(frame.columns[:2]) == ["time", "vaddr"]
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
    mapped = [set(found["vaddr"][found["present"]]) for _, found in frame.groupby("time")]
    assert mapped == [{address}, {address, address + 3 * PAGE}, {address + 3 * PAGE}]
    assert [resident(address), resident(address + 3 * PAGE)] == [False, True]
    assert seen.counts()["present 4 KiB"].tolist() == [1, 2, 1]
    words = [event.words.rpartition(": ")[2] for event in seen.history().events]
    assert words[1:] == ["1 mapped", "1 unmapped"]
    assert set(frame["walker"]) == {walker}


def test_what_happened_before_the_end_is_seen(address: int) -> None:
    with pte_magic.watch(address, address + 8 * PAGE, every=3600) as seen:
        write(address + PAGE)
    assert seen.counts()["present 4 KiB"].tolist() == [1, 2]


def test_nothing_is_remembered_where_nothing_happens(address: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read, times = walk.read, []

    def counted(*arguments: Any, **options: Any) -> Any:
        times.append(threading.current_thread().name)
        return read(*arguments, **options)

    monkeypatch.setattr(walk, "read", counted)
    with pte_magic.watch(address, address + 8 * PAGE, every=OFTEN) as seen:
        wait_until(lambda: times.count(f"watch of {address:#x}") > 5)
        assert looks(seen) == 1


def test_paused_it_does_not_look(address: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pte_magic.watch(address, address + 8 * PAGE, every=OFTEN) as seen:
        seen.paused = True
        assert seen.history().headline.endswith("paused")
        turns: list[bool] = []

        def is_paused(_: Watch) -> bool:
            turns.append(True)
            return True

        monkeypatch.setattr(Watch, "paused", property(is_paused))
        wait_until(lambda: len(turns) > 1)  # a look that was under way is over
        write(address + PAGE)
        had = len(turns)
        wait_until(lambda: len(turns) > had + 3)  # it had its turns, and did not look
        assert looks(seen) == 1
        monkeypatch.undo()
        seen.paused = False
        wait_until(lambda: looks(seen) == 2)


def test_another_process_under_load_until_it_ends(address: int) -> None:
    def toil() -> None:
        write(address, 8 * PAGE)
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            madvise(address, 8 * PAGE, DONTNEED)
            write(address, 8 * PAGE)

    with forked(toil) as child:
        seen = pte_magic.watch(address, address + 8 * PAGE, pid=child.pid, every=OFTEN)
        child.step()
        wait_until(lambda: looks(seen) > 1)
        assert seen.running
    wait_until(lambda: not seen.running)
    assert f"; stopped: pid {child.pid}: " in repr(seen)
    frame = seen.frame()
    assert set(frame["pid"]) == {child.pid}
    assert {int(found["size"].sum()) for _, found in frame.groupby("time")} == {8 * PAGE}
    seen.stop()


def test_a_loop_gets_a_frame_at_each_change_and_ends_it(address: int) -> None:
    seen = pte_magic.watch(address, address + 8 * PAGE, every=OFTEN)
    counted = []
    for frame in seen:
        present = int(frame["present"].sum())
        counted.append(present)
        if present == 4:
            break
        write(address + present * PAGE)
    assert counted == [1, 2, 3, 4]
    gc.collect()
    assert not seen.running
    assert [int(found["size"].sum()) for found in seen] == [8 * PAGE]  # stopped: what there was at last, and no wait


def test_an_interrupt_ends_a_loop(address: int) -> None:
    seen = pte_magic.watch(address, address + 8 * PAGE, every=OFTEN)
    frames = iter(seen)
    next(frames)
    main = threading.get_ident()

    def interrupt() -> None:
        wait_until(lambda: (caller := sys._current_frames()[main].f_back) and caller.f_code is Watch.__iter__.__code__)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        next(frames)
    thread.join()
    assert not seen.running


def test_one_that_nobody_holds_ends(address: int) -> None:
    seen = pte_magic.watch(address, address + 8 * PAGE, every=OFTEN)
    assert any(thread.name == f"watch of {address:#x}" for thread in threading.enumerate())
    del seen  # the fixture waits for its thread


def test_the_object_is_held(new_map: NewMap) -> None:
    del new_map
    memory = np.ones(1 << 20)
    seen = pte_magic.watch(memory, every=OFTEN)
    expected = pte_magic.walk(memory)["vaddr"].tolist()
    del memory
    gc.collect()
    assert set(pte_magic.walk(expected[0], expected[-1])["state"]) == {"present"}
    seen.stop()
    assert repr(seen).startswith("watch of ndarray: ")


def test_the_oldest_looks_are_forgotten_first(address: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks_of_a_watch, "MOST", 2)
    with pte_magic.watch(address, address + 8 * PAGE, every=3600) as seen:
        for page in range(1, 4):
            write(address + page * PAGE)
            seen._look_again()
        assert seen.counts()["present 4 KiB"].tolist() == [3, 4]
        assert seen.history().headline.startswith(f"watch of {address:#x}: 3 changes, the first 2 looks forgotten; ")


@pytest.mark.parametrize("every", [0, -1, 0.001, "1", None, True, float("nan"), float("inf")])
def test_a_bad_time_is_one_line(every: Any) -> None:
    with pytest.raises(TargetError, match=r"^every=.* is not a number of seconds; type one from 0\.01 on$"):
        pte_magic.watch(b"x", every=every)


def test_bad_targets_are_those_of_walk() -> None:
    for arguments in (("nonsense",), (b"",), (5, 4)):
        with pytest.raises(PteMagicError) as told:
            pte_magic.watch(*arguments)
        assert "\n" not in str(told.value)
    with pytest.raises(PteMagicError, match="no such process"):
        pte_magic.watch("[heap]", pid=999999999)


def test_it_ends_with_python_and_needs_no_ipython() -> None:
    code = """
    import sys, threading
    sys.modules["IPython"] = None
    import mmap, pte_magic
    memory = mmap.mmap(-1, 4096)
    seen = pte_magic.watch(memory, every=0.01)
    print(seen)
    """
    out = python("\n".join(line.strip() for line in code.splitlines()))
    assert out.startswith("watch of mmap: 0 changes; looks every 0.01 s\n")


def test_a_forked_child_has_none(address: int) -> None:
    def end_all() -> int:
        watch.stop_all()
        return threading.active_count()

    with pte_magic.watch(address, every=OFTEN) as seen:
        with forked(end_all) as child:
            assert child.step() == 1
        assert seen.running


def test_a_watch_by_pagemap_does_not_say_that_nothing_changed(address: int) -> None:
    target = address, address + PAGE
    for walker, words in (("pagemap", ": 0 changes that pagemap shows; "), ("auto", ": 0 changes; ")):
        if walker == "auto" and os.geteuid():
            continue
        with pte_magic.watch(*target, every=0.01, walker=walker) as seen:
            assert words in repr(seen)


@pytest.mark.parametrize(
    ("seconds", "format_"), [(0.3, r"\d\d:\d\d:\d\d\.\d"), (1.5, r"\d\d:\d\d:\d\d\.\d"), (60, r"\d\d:\d\d:\d\d")]
)
def test_times_below_the_picture_are_distinct(seconds: float, format_: str) -> None:
    events = [Event(1e9 + at, "", {Kind("present", PAGE): (1, PAGE)}) for at in (0, seconds)]
    axis = watch_history.html(History("", "", events)).partition('<p class="pte-watch-axis">')[2].partition("</p>")[0]
    times = re.findall("<span>([^<]*)</span>", axis)
    assert len(times) == len(set(times)) == 5
    assert all(re.fullmatch(format_, when) for when in times)


def test_days_below_the_picture_are_no_error() -> None:
    events = [Event(1e9 + at, "", {Kind("present", PAGE): (1, PAGE)}) for at in (0, 4 * 86400 * 40 / 41)]
    assert watch_history.svg(History("", "", events))
