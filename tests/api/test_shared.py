"""`shared`: what processes share since a fork, against what each wrote on purpose, and against smaps."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from accounting import accounted
from conftest import NOBODY, Child, become, forked, needs_root
from handmade import (
    ANONYMOUS,
    DONTNEED,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PTES,
    READ,
    SHARED,
    WRITE,
    NewMap,
    libc,
    madvise,
    mprotect,
    new_maps,
    read,
    smaps,
    write,
)
from waiting import wait_until

import pte_magic
from pte_magic import Shared
from pte_magic.api.sharing import pages
from pte_magic.errors import AccessDeniedError, NoSuchProcessError, TargetError
from pte_magic.linux import pagemap_scan
from pte_magic.linux.address_space import own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGES = 64
COUNTED = ("shared", "copied_here", "copied_there", "copied_either", "never_shared", "swapped")
CLONE_VM = 0x100
LONGER = 600  # seconds, than a test waits; then what it left ends
WHO = [pytest.param(0, marks=needs_root, id="root"), pytest.param(NOBODY, id="ordinary-user")]
"""Who sees page frames, and who does not. Not root, a test is of whoever runs it."""


class Target:
    """A range of memory as an object, for its name in a row."""

    def __init__(self, address: int, size: int) -> None:
        self.__array_interface__ = {"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}


def ranges(**of: tuple[int, int]) -> dict[str, Any]:
    return {name: Target(*where) for name, where in of.items()}


def at(address: int, *pages: int) -> None:
    for page in pages:
        write(address + page * PAGE)


def pages_of(table: Shared, pid: int, name: str) -> dict[str, int]:
    """Return a row in pages: what is not 0."""
    ((_, row),) = table[(table["pid"] == pid) & (table["name"] == name)].iterrows()
    assert all(row[column] % PAGE == 0 for column in COUNTED)
    assert sum(row[column] for column in COUNTED) <= row["bytes"]
    return {column: int(row[column]) // PAGE for column in COUNTED if row[column]}


def as_user(user: int, do: Callable[[], Any]) -> Any:
    """Return what a function returns in a process of a user, or in this one if it is that user's, or not root's."""
    if os.geteuid() or user == 0:
        return do()

    def changed() -> Any:
        become(user)
        return do()

    with forked(changed) as child:
        return child.step()


@contextmanager
def three(small: int) -> Iterator[tuple[Child, Child]]:
    """Have this process and two children write to some of the first 64 pages at an address."""

    def first() -> None:
        at(small, *range(10), 15, 16, 17, 18, 19, 56)
        madvise(small + 22 * PAGE, 2 * PAGE, DONTNEED)

    at(small, *range(PAGES - 8))
    with forked(first) as one, forked(lambda: at(small, 15, 16, 17)) as other:
        one.step()
        other.step()
        at(small, *range(10, 15), 18, 19, 57)
        yield one, other


@pytest.mark.parametrize("user", WHO)
def test_what_each_of_three_wrote_is_what_each_copied(user: int) -> None:
    def look() -> tuple[dict[str, int], dict[str, int], set[str], int]:
        with new_maps() as new_map:
            small = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
            with three(small) as (one, other):
                table = pte_magic.shared(ranges(a=(small, PAGES * PAGE)), walker="pagemap")
                both = pages_of(table, one.pid, "a"), pages_of(table, other.pid, "a")
                return *both, set(table["compared_by"]), table.attrs["copies"] // PAGE

    first, second, by, copies = as_user(user, look)
    # The first wrote 0 to 9, this one 10 to 14, both others 15 to 17, this one and the first 18 and 19.
    gone, new = 2, 2
    assert first == {
        "shared": 56 - 10 - 5 - 3 - 2 - gone,
        "copied_here": 5,
        "copied_there": 10,
        "copied_either": 3 + 2,
        "never_shared": gone + new,
    }
    assert second == {"shared": 56 - 5 - 3 - 2, "copied_here": 5, "copied_either": 3 + 2, "never_shared": 1}
    assert copies == 10 + 5 + 2 * 3 + 2 * 2
    assert by == {"page frames" if user == 0 and os.geteuid() == 0 else "the exclusive bit"}


def test_raw_entries_tell_who_wrote(new_map: NewMap, raw_walker: str) -> None:
    small = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    with three(small) as (one, other):
        table = pte_magic.shared(ranges(a=(small, PAGES * PAGE)), walker=raw_walker)
    assert pages_of(table, one.pid, "a") == {
        "shared": 34, "copied_here": 5, "copied_there": 13, "copied_either": 2, "never_shared": 4,
    }  # fmt: skip
    assert pages_of(table, other.pid, "a") == {"shared": 46, "copied_here": 7, "copied_there": 3, "never_shared": 1}


@pytest.mark.parametrize("user", WHO)
def test_the_sums_of_two_are_those_of_smaps(user: int) -> None:
    """Huge pages, too, of which the child has written to a few small ones; only the bit of the first one is told."""

    def look() -> None:
        with new_maps() as new_map:
            huge, small = new_map(3 * HUGE, advice=HUGEPAGE), new_map(PAGES * PAGE, advice=NOHUGEPAGE)
            write(huge, 3 * HUGE)
            assert smaps(huge, "AnonHugePages") == 3 * HUGE
            at(small, *range(PAGES))

            def do() -> None:
                at(huge, 3, PTES, PTES + 7)
                at(small, *range(20))

            with forked(do) as child:
                child.step()
                at(huge, 5)
                sizes = {"huge": (huge, 3 * HUGE), "small": (small, PAGES * PAGE)}
                table = pte_magic.shared(ranges(**sizes), child.pid)
                assert pages_of(table, child.pid, "small")["shared"] == PAGES - 20
                assert pages_of(table, child.pid, "huge")["shared"] == 3 * PTES - 4
                for name, (address, _) in sizes.items():
                    row = table[table["name"] == name].iloc[0]
                    told = {field: smaps(address, field, child.pid) for field in ("Rss", "Pss")}
                    told |= {
                        kind: sum(smaps(address, f"{kind}_{state}", child.pid) for state in ("Clean", "Dirty"))
                        for kind in ("Shared", "Private")
                    }
                    copied = sum(int(row[column]) for column in COUNTED[1:4])
                    assert told["Rss"] == row["resident"]
                    assert told["Shared"] == row["shared"]
                    assert told["Private"] == copied
                    assert told["Pss"] == row["shared"] // 2 + copied

    as_user(user, look)


@pytest.mark.parametrize("user", WHO)
def test_files_and_shared_memory_are_shared_and_private_pages_of_a_file_are_written(user: int) -> None:
    def look() -> list[dict[str, int]]:
        with new_maps() as new_map, ExitStack() as stack:
            fd = os.memfd_create("test")
            stack.callback(os.close, fd)
            os.ftruncate(fd, 8 * PAGE)
            file = new_map(8 * PAGE, READ | WRITE, 2, fd)
            both = new_map(8 * PAGE, READ | WRITE, SHARED | ANONYMOUS)
            zeros = new_map(8 * PAGE, advice=NOHUGEPAGE)
            hidden = new_map(8 * PAGE, advice=NOHUGEPAGE)

            def use() -> None:
                read(file, 6 * PAGE)
                at(file, 2)
                read(both, 4 * PAGE)
                at(both, 4, 5)
                read(zeros, 8 * PAGE)

            read(file, 8 * PAGE)
            write(both, 8 * PAGE)
            read(zeros, 4 * PAGE)
            write(hidden, 8 * PAGE)
            mprotect(hidden, 8 * PAGE, 0)
            with forked(use) as child:
                child.step()
                named = ranges(**{
                    name: (address, 8 * PAGE)
                    for name, address in {"file": file, "both": both, "zeros": zeros, "hidden": hidden}.items()
                })  # fmt: skip
                table = pte_magic.shared(named, [child.pid])
                return [pages_of(table, child.pid, name) for name in named]

    file, both, zeros, hidden = as_user(user, look)
    # Pages around one that is read are mapped, too: those of the file that the child has not read may be there.
    assert file["copied_there"] == 1
    assert file["shared"] >= 5
    assert file["shared"] + file.get("never_shared", 0) == 7
    assert both["shared"] + both.get("never_shared", 0) == 8
    assert both["shared"] >= 6
    if pagemap_scan.works() or user == 0:
        assert zeros == {}
    assert hidden == {"shared": 8}


APART = 1 << 40  # where nobody maps anything: in the next free place, this process could map something meanwhile


def test_all_memory_by_region(new_map: NewMap) -> None:
    mine = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(mine, PAGES * PAGE)

    def use() -> int:
        at(mine, *range(8))
        address: int = libc.mmap(APART, 16 * PAGE, READ | WRITE, 2 | ANONYMOUS, -1, 0)
        write(address, 16 * PAGE)
        return address

    with forked(use) as child:
        assert child.step() == APART
        table = pte_magic.shared(pids=[child.pid])
        (row,) = table[table["vaddr"] == mine].to_dict("records")
        assert (row["name"], row["type"], row["bytes"]) == ("", "anonymous memory", PAGES * PAGE)
        assert row["copied_here"] + row["copied_there"] + row["copied_either"] == 8 * PAGE
        assert row["shared"] == (PAGES - 8) * PAGE
        theirs = table[table["type"] == "memory that only other processes map"]
        assert theirs["never_shared"].sum() in range(16 * PAGE, 64 * PAGE)
        sums = table[list(COUNTED)].sum(axis=1)
        assert (sums <= table["bytes"]).all()
        resident = int(table["resident"].sum())
        assert abs(resident - accounted(child.pid)["Rss"]) <= 64 * PAGE  # it has just answered: its stack grows


def test_names_and_targets_that_no_file_takes_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    array, name = np.ones(1 << 18, np.uint8), "a\ud800\x1b"
    monkeypatch.setitem(sys.modules["__main__"].__dict__, name, array)
    with forked(lambda: None) as child:
        child.step()
        named, plain = pte_magic.shared({name: array, "b\ud800": [array]}, child.pid), pte_magic.shared(pids=child.pid)
    assert set(named["name"]) == {r"a\ud800\x1b", r"b\ud800"}
    assert plain.set_index("name")["bytes"].to_dict()[r"a\ud800\x1b"] >= array.nbytes
    assert repr(named).encode()


def test_a_metaclass_is_not_asked() -> None:
    class Meta(type):
        def __eq__(cls, _: object) -> bool:
            raise AssertionError

        def __hash__(cls) -> int:
            raise AssertionError

        def __getattribute__(cls, name: str) -> Any:
            raise AssertionError(name)

    class Odd(metaclass=Meta):
        pass

    with forked(lambda: None) as child:
        child.step()
        table = pte_magic.shared({"odd": Odd()}, child.pid)
    assert table["type"].tolist() == ["Odd"]


def test_sizes_are_of_bytes_and_overlap_as_targets_do() -> None:
    array = np.ones(1 << 20, np.uint8)
    with forked(lambda: None) as child:
        child.step()
        table = pte_magic.shared({"whole": array, "part": array[5000:105000]}, [child.pid])
    assert table.set_index("name")["bytes"].to_dict()["part"] % PAGE == 0
    assert (table["shared"] <= table["bytes"]).all()
    assert table.set_index("name")["shared"].to_dict()["part"] > 0


def test_of_a_list_all_objects_are_counted_as_they_were_before_the_look() -> None:
    rows = [f"{number:500}" for number in range(20_000)]
    size = sum(map(sys.getsizeof, rows)) + sys.getsizeof(rows)
    assert size > 5 << 20
    with forked(lambda: None) as child:
        first, second = (pte_magic.shared({"rows": rows}, child.pid).iloc[0] for _ in range(2))
    assert abs(int(first["bytes"]) - size) < size // 20
    assert first["shared"] > 0.9 * size
    assert second["copied_here"] > 0.9 * size  # each object was looked at, which counts references in it


def child_of(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


@contextmanager
def running(code: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Run a program that prints pids and waits; end it."""
    with child_of(code) as program:
        try:
            assert program.stdout
            yield program, [int(word) for word in program.stdout.readline().split()]
        finally:
            program.kill()


FORKS = """
import os, sys
end, alive = os.pipe()
pids = []
for _ in range(2):
    pid = os.fork()
    if not pid:
        os.close(alive)
        os.read(end, 1)  # until the parent has ended, in whatever way
        os._exit(0)
    pids.append(pid)
print(os.getpid(), *pids, flush=True)
sys.stdin.read()
"""


def test_a_server_and_what_it_forked_are_compared_with_each_other() -> None:
    with running(FORKS) as (program, (server, *workers)):
        alone = pte_magic.shared(pids=server)
        assert alone.attrs["here"] == server == program.pid
        assert set(alone["pid"]) == set(workers)
        for pids in ([server, *workers], [*workers, server], workers):
            table = pte_magic.shared("[heap]", pids)
            assert table.attrs["here"] == server
            assert set(table["pid"]) == set(workers)
        assert (table["shared"] > 0).all()
        one = pte_magic.shared("[heap]", workers[0])
        assert (one.attrs["here"], set(one["pid"])) == (server, {workers[0]})
        with running(FORKS) as (_, strangers), pytest.raises(TargetError, match="neither from this process nor from"):
            pte_magic.shared(pids=[workers[0], strangers[1]])


def test_a_program_that_shares_nothing_says_so() -> None:
    with child_of("print(flush=True); input()") as program:
        assert program.stdout
        program.stdout.readline()
        with pytest.raises(TargetError, match=f"pid {program.pid}: has called exec since the fork, so its memory is"):
            pte_magic.shared(pids=program.pid)
        program.kill()


def test_each_process_that_is_not_compared_has_its_line_and_the_others_are_shown(new_map: NewMap) -> None:
    small = new_map(PAGE)
    write(small)
    stack = ctypes.create_string_buffer(1 << 16)
    top = ctypes.c_void_p(ctypes.addressof(stack) + len(stack) - 64)
    borrower = libc.clone(libc.sleep, top, CLONE_VM | signal.SIGCHLD, LONGER)
    zombie = os.fork()
    if not zombie:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    try:
        with child_of("print(flush=True); input()") as other, forked(lambda: None) as child:
            assert other.stdout
            other.stdout.readline()
            child.step()
            table = pte_magic.shared(ranges(a=(small, PAGE)))
            named = pte_magic.shared(ranges(a=(small, PAGE)), [child.pid, zombie, 1 << 22])
            other.kill()
    finally:
        os.kill(borrower, signal.SIGKILL)
        os.waitpid(borrower, 0)
        os.waitpid(zombie, 0)
    why = table.attrs["left_out"]
    assert set(table["pid"]) >= {child.pid}
    assert why[zombie] == f"pid {zombie}: a zombie: it has exited, and its address space is gone"
    assert why[other.pid] == f"pid {other.pid}: has called exec since the fork, so its memory is another one"
    assert why[borrower].startswith(f"pid {borrower}: still uses the memory of pid {os.getpid()} itself")
    # This process may have more children than are named below a table.
    assert f"left out: {why[zombie]}" in repr(named).replace("\n  ", " ").replace("\n", " ")
    assert named["pid"].tolist() == [child.pid]
    assert set(named.attrs["left_out"]) == {zombie, 1 << 22}


def test_a_thread_is_its_process() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(TargetError, match=f"is a thread of process {os.getpid()}, which has the same memory; type"):
            pte_magic.shared(pids=thread.native_id)
    finally:
        done.set()
        thread.join()


def test_a_child_that_ends_between_two_readings_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.ones(1 << 20, np.uint8)
    with forked(lambda: None) as gone, forked(lambda: None) as child:
        original = pte_magic.api.sharing.pages.read
        read_of: list[int] = []

        def reading(space: Any, *arguments: Any) -> Any:
            read_of.append(space.pid)
            if space.pid == gone.pid:
                os.kill(gone.pid, signal.SIGKILL)
                os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
            return original(space, *arguments)

        monkeypatch.setattr("pte_magic.api.sharing.pages.read", reading)
        table = pte_magic.shared(array, [gone.pid, child.pid])
        assert table["pid"].tolist() == [child.pid]
        assert str(gone.pid) in table.attrs["left_out"][gone.pid]
        assert gone.pid in read_of
        with pytest.raises(TargetError, match="no process shares memory with pid"):
            pte_magic.shared(array, gone.pid)


@needs_root
def test_processes_of_other_users_are_not_shown_to_an_ordinary_one() -> None:
    with running(FORKS) as (program, _):

        def look() -> str:
            with pytest.raises(AccessDeniedError) as raised:
                pte_magic.shared(pids=program.pid)
            return str(raised.value)

        assert as_user(NOBODY, look).startswith(f"pid {program.pid}: permission denied; ")


@pytest.mark.parametrize(
    ("targets", "pids", "kind", "message"),
    [
        (None, 1 << 22, NoSuchProcessError, "no such process"),
        (None, "1234", TargetError, "pids='1234' is not a pid, nor several; type 1234, or [1234, 1235]"),
        (None, b"1", TargetError, "pids=b'1' is not a pid, nor several; type 1234, or"),
        (None, bytearray(b"1"), TargetError, "pids=a bytearray is not a pid, nor several; type 1234, or"),
        (None, 1.5, TargetError, "pids=1.5 is not a pid, nor several; type 1234, or"),
        (None, [], TargetError, "this process has no children to compare with; fork some, as a pool does, or type"),
    ],
)  # fmt: skip
def test_bad_pids_are_said_in_one_line(targets: Any, pids: Any, kind: type[Exception], message: str) -> None:
    code = pids == []

    def look() -> str:
        with pytest.raises(kind) as raised:
            pte_magic.shared(targets, pids or None)
        return str(raised.value)

    found = as_child(look) if code else look()
    assert message in found
    assert "\n" not in found


def as_child(do: Callable[[], Any]) -> Any:
    """Do something in a process without children."""
    with forked(do) as child:
        return child.step()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({}, "targets=a dict has no targets; type shared(a), or shared() for all memory"),
        ([], "targets=a list has no targets"),
        ({1: b"x"}, "a name in targets=1 is not a text; type {'a': a}, for example"),
        ("[haep]", "did you mean"),
        ([0xFFFF_FFFF_FFFF_0000], "is a kernel address"),
    ],
)
def test_bad_targets_are_said_in_one_line(targets: Any, message: str) -> None:
    with forked(lambda: None) as child, pytest.raises(TargetError) as raised:
        pte_magic.shared(targets, child.pid)
    assert message in str(raised.value)


def test_where_sizes_are_not_known_pages_that_agree_may_be_a_huge_one() -> None:
    """As words of pagemap are without PAGEMAP_SCAN: of a whole block all the same, or of a part, or not the same."""
    page = np.arange(PTES - 2, 4 * PTES + 3, dtype=np.uint64)
    exclusive = np.ones(len(page), np.int8)
    block = page // np.uint64(PTES)
    exclusive[block == 2] = 0
    exclusive[np.flatnonzero(block == 3)[5]] = -1
    expected = (block == 1) | (block == 2)
    assert (pages.may_be_huge(page, exclusive) == expected).all()


def test_while_all_write_no_sum_exceeds_its_size(new_map: NewMap) -> None:
    size = 256 * PAGE
    memory = new_map(size, advice=NOHUGEPAGE)
    write(memory, size)
    end = threading.Event()

    def storm(seed: int) -> None:
        random = np.random.default_rng(seed)
        while not end.is_set():
            page = int(random.integers(256))
            if random.random() < 0.2:
                madvise(memory + page * PAGE, PAGE, DONTNEED)
            else:
                at(memory, page)

    def begin() -> None:
        threading.Thread(target=storm, args=(os.getpid(),), daemon=True).start()

    with forked(begin) as one, forked(begin) as other:
        one.step()
        other.step()
        thread = threading.Thread(target=storm, args=(1,))
        thread.start()
        try:
            for _ in range(10):
                table = pte_magic.shared(ranges(a=(memory, size)), [one.pid, other.pid])
                assert (table[list(COUNTED)].sum(axis=1) <= size).all()
                assert (table["resident"] <= size).all()
        finally:
            end.set()
            thread.join()


def test_it_is_a_frame_with_its_columns(new_map: NewMap) -> None:
    small = new_map(PAGE)
    write(small)
    with forked(lambda: None) as child:
        table = pte_magic.shared(ranges(a=(small, PAGE)), child.pid)
    assert {str(table[name].dtype) for name in ("bytes", "resident", *COUNTED, "vaddr")} == {"uint64"}
    assert table["pid"].dtype == np.int64
    assert table.attrs["here"] == own().pid
    assert isinstance(table[table["shared"] > 0], Shared)
    assert not isinstance(table.groupby("name")["shared"].sum(), Shared)
    assert isinstance(Shared(table.to_dict("list")), Shared)


def test_it_waits_for_nobody(new_map: NewMap) -> None:
    """A stopped process is compared like any other, and goes on afterwards."""
    small = new_map(PAGE)
    write(small)
    with forked(lambda: at(small, 0)) as child:
        os.kill(child.pid, signal.SIGSTOP)
        stat = Path(f"/proc/{child.pid}/stat")
        wait_until(lambda: "T" in stat.read_text(encoding="utf-8").rpartition(")")[2])
        assert pages_of(pte_magic.shared(ranges(a=(small, PAGE)), child.pid), child.pid, "a") == {"shared": 1}
        os.kill(child.pid, signal.SIGCONT)
        child.step()
        assert "shared" not in pages_of(pte_magic.shared(ranges(a=(small, PAGE)), child.pid), child.pid, "a")
