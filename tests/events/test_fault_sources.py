"""The sources of page faults: what was done to memory on purpose, what pagemap and getrusage say, and each other."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import NOBODY, descriptors, forked, needs_root, python
from entry_bits import address_mask
from handmade import (
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    PAGE,
    READ,
    WRITE,
    NewMap,
    libc,
    pfn,
    read,
    smaps,
    words,
    write,
)
from waiting import wait_until

from pte_magic.errors import NoSuchProcessError, SourceUnavailableError, TargetError
from pte_magic.events.fault_record import MAJOR, NOT_READ, REFUSED, USER, Faults
from pte_magic.events.fault_sources import NAMES, open_source
from pte_magic.events.totals import totals
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PTE = LEVELS.index("pte")
N = 64


@pytest.fixture(params=[name for name in NAMES if name != "rusage"])
def source(request: pytest.FixtureRequest) -> str:
    """The name of each source of records in turn that works here."""
    try:
        open_source(request.param).close()
    except SourceUnavailableError as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture
def _bpf() -> None:
    try:
        open_source("bpf").close()
    except SourceUnavailableError as error:
        pytest.skip(str(error))


def recorded(source: str, do: Callable[[], object], **options: Any) -> Faults:
    with open_source(source, **options) as opened:
        opened.start()
        do()
        return opened.stop()


def within(found: Faults, address: int, size: int) -> NDArray[np.void]:
    at = found.records["address"]
    return np.asarray(found.records[(at >= address) & (at < address + size)])


def frame(entry: np.uint64) -> int:
    return int(entry & address_mask()) // PAGE


def test_each_first_touch_is_a_row_and_the_rows_are_what_the_kernel_counts(source: str, new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    begin = time.monotonic_ns()
    found = recorded(source, lambda: write(at, N * PAGE))
    rows = within(found, at, N * PAGE)
    assert rows["address"].tolist() == list(range(at, at + N * PAGE, PAGE))
    assert set(rows["tid"].tolist()) == {threading.get_native_id()}
    assert set(rows["pid"].tolist()) == {os.getpid()}
    assert (rows["flags"] == USER).all()
    assert (np.diff(found.records["time"].astype(np.int64)) >= 0).all()
    assert begin <= found.start <= int(rows["time"][0]) <= int(rows["time"][-1]) <= found.stop <= time.monotonic_ns()
    assert (found.lost, found.unseen, found.source) == (0, 0, source)
    assert int(found.completed.sum()) == found.minor + found.major


def test_the_kernel_counts_in_another_way_as_many(source: str, new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    counts: list[tuple[int, int, int]] = []

    def used() -> tuple[int, int]:
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        return usage.ru_minflt, usage.ru_majflt

    def count() -> None:
        before, now, after = used(), time.monotonic_ns(), used()
        while before != after:  # the look itself had a fault, on one side of the moment or on the other
            before, now, after = used(), time.monotonic_ns(), used()
        counts.append((now, *after))

    def do() -> None:
        count()
        write(at, N * PAGE)
        count()

    found = recorded(source, do)
    (begin, *before), (end, *after) = counts
    own = found.records[found.completed & (found.records["tid"] == threading.get_native_id())]
    inside = (own["time"] >= begin) & (own["time"] < end)
    assert int(inside.sum()) == sum(after) - sum(before) >= N


@pytest.mark.usefixtures("_bpf")
def test_entries_before_and_after_are_those_of_the_page_tables(new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    rows = within(recorded("bpf", lambda: write(at, N * PAGE)), at, N * PAGE)
    assert (rows["before"] == 0).all()
    assert (rows["level_before"][1:] == PTE).all()  # the first fault may have made the page table
    assert (rows["level_after"] == PTE).all()
    told = words(at, N * PAGE) & np.uint64((1 << 55) - 1)
    assert (rows["after"] & address_mask()) // np.uint64(PAGE) == pytest.approx(told, abs=0)
    assert (rows["ns"] > 0).all()


@pytest.mark.usefixtures("_bpf")
def test_copy_on_write_has_the_page_before_and_the_one_after(new_map: NewMap) -> None:
    at = new_map(PAGE, READ | WRITE, advice=NOHUGEPAGE)
    zero: list[int] = []

    def do() -> None:
        read(at)
        zero.append(pfn(at))
        write(at)

    first, second = within(recorded("bpf", do), at, PAGE)
    assert (frame(first["after"]), frame(second["before"])) == (zero[0], zero[0])
    assert first["before"] == 0
    assert frame(second["after"]) == pfn(at) != zero[0]


@pytest.mark.usefixtures("_bpf")
def test_a_huge_page_is_one_fault_and_its_entry_is_above(new_map: NewMap) -> None:
    at = new_map(HUGE, READ | WRITE, advice=HUGEPAGE)
    rows = within(recorded("bpf", lambda: write(at, HUGE)), at, HUGE)
    if not smaps(at, "AnonHugePages"):
        pytest.skip("this kernel gave no huge page")
    assert len(rows) == 1
    assert LEVELS[rows["level_after"][0]] == HUGE_LEVEL
    assert frame(rows["after"][0]) == pfn(at)


def test_perf_reads_no_entries(new_map: NewMap) -> None:
    try:
        open_source("perf").close()
    except SourceUnavailableError as error:
        pytest.skip(str(error))
    at = new_map(PAGE, READ | WRITE)
    (row,) = within(recorded("perf", lambda: write(at)), at, PAGE)
    assert (row["level_before"], row["level_after"], row["before"], row["after"], row["ns"]) == (
        NOT_READ,
        NOT_READ,
        0,
        0,
        0,
    )


def test_threads_that_begin_meanwhile_are_seen(source: str, new_map: NewMap) -> None:
    at = new_map(8 * N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    tids: dict[int, int] = {}
    ready = threading.Barrier(8)

    def work(n: int) -> None:
        tids[n] = threading.get_native_id()
        ready.wait()
        write(at + n * N * PAGE, N * PAGE)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for one in threads[:4]:  # these run before the source is opened, the others begin after
        one.start()

    def do() -> None:
        for one in threads[4:]:
            one.start()
        for one in threads:
            one.join()

    found = recorded(source, do)
    for n in range(8):
        rows = within(found, at + n * N * PAGE, N * PAGE)
        assert rows["tid"].tolist() == [tids[n]] * N
        assert rows["address"].tolist() == list(range(at + n * N * PAGE, at + (n + 1) * N * PAGE, PAGE))
    assert int(found.completed.sum()) == found.minor + found.major


@needs_root
def test_faults_within_a_system_call_are_not_of_user_mode(source: str, new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(N * PAGE))
        file.flush()
        found = recorded(source, lambda: libc.pread(file.fileno(), ctypes.c_void_p(at), ctypes.c_size_t(N * PAGE), 0))
    rows = within(found, at, N * PAGE)
    assert len(rows) == N
    assert (rows["flags"] & USER == 0).all()


@pytest.mark.usefixtures("_bpf")
def test_a_fault_that_the_kernel_refuses_is_a_row(new_map: NewMap) -> None:
    at = new_map(PAGE, NONE)
    with Path("/dev/zero").open("rb") as file:
        found = recorded("bpf", lambda: libc.read(file.fileno(), ctypes.c_void_p(at), ctypes.c_size_t(1)))
    rows = within(found, at, PAGE)
    assert rows["flags"].tolist() == [REFUSED]
    assert rows["after"].tolist() == [0]
    assert int(found.completed.sum()) == found.minor + found.major


@pytest.mark.usefixtures("_bpf")
def test_the_last_fault_of_a_process_that_a_signal_killed_is_refused(new_map: NewMap) -> None:
    at = new_map(PAGE, NONE)

    def die() -> None:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.memset(at, 1, 1)

    with open_source("bpf", children=True) as opened:
        opened.start()
        pid = os.fork()
        if not pid:
            try:
                die()
            finally:
                os._exit(1)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGSEGV
        rows = within(opened.stop(), at, PAGE)
    assert (rows["pid"].tolist(), rows["flags"].tolist()) == ([pid], [USER | REFUSED])


def test_major_faults_are_as_many_as_the_kernel_counts(source: str) -> None:
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.write(os.urandom(N * PAGE))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            at = np.frombuffer(memory, np.uint8).ctypes.data
            found = recorded(source, lambda: read(at, N * PAGE))
            assert len(within(found, at, N * PAGE)) >= 1
    assert int((found.records["flags"][found.completed] & MAJOR != 0).sum()) == found.major
    assert int(found.completed.sum()) == found.minor + found.major


def test_a_child_is_followed_if_that_is_wanted(source: str, new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    write(at, N * PAGE)

    def fork() -> int:
        with forked(lambda: write(at, N * PAGE, 2)) as child:
            child.step()
            return child.pid

    for children in (True, False):
        pids: list[int] = []
        found = recorded(source, lambda: pids.append(fork()), children=children)  # noqa: B023  (called at once)
        rows = within(found, at, N * PAGE)
        assert (rows["pid"] == pids[0]).sum() == (N if children else 0)
        assert set(found.records["pid"].tolist()) <= {os.getpid(), *pids}


def test_another_process(source: str, new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    with forked(lambda: None, lambda: write(at, N * PAGE)) as child:
        child.step()
        found = recorded(source, child.step, pid=child.pid)
    rows = within(found, at, N * PAGE)
    assert (rows["pid"].tolist(), rows["tid"].tolist()) == ([child.pid] * N, [child.pid] * N)
    assert set(found.records["pid"].tolist()) == {child.pid}


def test_totals_of_another_process(new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    with forked(lambda: None, lambda: write(at, N * PAGE)) as child:
        child.step()
        found = recorded("rusage", child.step, pid=child.pid)
    assert (len(found.records), found.lost, found.unseen) == (0, 0, 0)
    assert found.minor + found.major >= N


@pytest.mark.parametrize("options", [{"most": 100}, {"buffer": 1 << 16}])
def test_what_has_no_room_is_counted_exactly(source: str, options: dict[str, int], new_map: NewMap) -> None:
    n = 4096
    at = new_map(n * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    found = recorded(source, lambda: write(at, n * PAGE), **options)
    assert found.lost > 0
    assert len(found.records) <= options.get("most", n)
    assert int(found.completed.sum()) + found.lost == found.minor + found.major
    assert found.unseen == 0


def test_two_at_once_see_the_same(source: str, new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    outer: list[Faults] = []

    def inside() -> None:
        outer.append(recorded(source, lambda: write(at, N * PAGE)))

    found = recorded(source, inside)
    for one in (found, *outer):
        assert len(within(one, at, N * PAGE)) == N


def test_nothing_stays_open(source: str) -> None:
    before = descriptors()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            recorded(source, lambda: 1 // 0)
    opened = open_source(source)
    opened.close()
    opened.close()
    with pytest.raises(SourceUnavailableError, match=f"source '{source}' cannot work here: it was closed"):
        opened.stop()
    assert descriptors() == before


def events(pid: int) -> list[str]:
    """Return what keeps a source attached, of a process: descriptors of perf events and eBPF programs."""
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the one by which they are listed
            found.append(str(one.readlink()))
    return [name for name in found if "perf_event" in name or "bpf" in name]


def test_a_forked_child_keeps_nothing_attached(source: str) -> None:
    with open_source(source) as opened:
        opened.start()

        def in_child() -> str:
            with pytest.raises(SourceUnavailableError, match="in a forked child"):
                opened.stop()
            return "refused"

        with forked(in_child) as child:
            assert child.step() == "refused"
            assert events(os.getpid())
            if source == "perf":
                assert events(child.pid) == []  # the walkers of eBPF are closed by other means
            else:
                assert not [name for name in events(child.pid) if "perf" in name]
        assert opened.stop().source == source


def test_nothing_stays_attached_after_kill_9(source: str) -> None:
    """The kernel frees what belonged to descriptors; a child that lives on has none."""

    def hold() -> int:
        opened = open_source(source)
        opened.start()
        pid = os.fork()
        if not pid:
            try:
                signal.pause()
            finally:
                os._exit(0)
        globals()["_kept"] = opened
        return pid

    with forked(hold) as child:
        other = child.step()
        assert events(child.pid)
        os.kill(child.pid, signal.SIGKILL)
    try:
        wait_until(lambda: not [name for name in events(other) if "perf" in name])  # it runs what fork() makes it run
    finally:
        os.kill(other, signal.SIGKILL)


def test_what_is_not_a_source_or_a_process_is_said(source: str) -> None:
    with pytest.raises(TargetError, match=r"source 'pref' does not exist; type one of .*; did you mean 'perf'\?"):
        open_source("pref")
    with pytest.raises(TargetError, match="most=0 is not a whole number from 1 on"):
        open_source(most=0)
    with pytest.raises(TargetError, match="buffer=1 is not a whole number from 65536 on"):
        open_source(buffer=1)
    with forked() as child:
        pid = child.pid
    for name in (source, "rusage"):
        with pytest.raises(NoSuchProcessError, match=f"pid {pid}: no such process"):
            open_source(name, pid=pid)


@needs_root
def test_an_ordinary_user_gets_the_next_best_and_is_told_why() -> None:
    code = """
from pte_magic.events.fault_sources import open_source
with open_source() as opened:
    opened.start()
    memory = bytearray(1 << 22)
    found = opened.stop()
told = found.minor + found.major - found.unseen - found.lost
print(found.source, int(found.completed.sum()) == told, *found.notes, sep="|")
"""
    name, is_exact, *notes = python(code, user=NOBODY).split("|")
    assert name in {"perf", "rusage"}
    assert "source 'bpf' cannot work here: no permission to load eBPF programs" in notes[0]
    assert is_exact == "True" or name == "rusage"


def test_totals_are_those_of_getrusage() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = totals()
    in_proc = totals(os.getpid())
    after = resource.getrusage(resource.RUSAGE_SELF)
    for one in (found, in_proc):
        assert before.ru_minflt <= one.minor <= after.ru_minflt
        assert before.ru_majflt <= one.major <= after.ru_majflt
