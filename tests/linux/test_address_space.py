"""Address spaces: whose may be opened, and what happens when the process behind an open one goes away."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from conftest import NOBODY, descriptors, forked, needs_root, python, walked
from handmade import NONE, PAGE, PM_PFN, PM_PRESENT, READ, WRITE, NewMap, mprotect, pfn, words, write

import pte_magic
from pte_magic import walkers
from pte_magic.errors import AccessDeniedError, NoAddressSpaceError, NoSuchProcessError, PteMagicError
from pte_magic.linux import hardware, kernel_text, regions
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.walkers import helper_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEP = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"]


@contextmanager
def program(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says when it is up; kill it in the end."""
    with subprocess.Popen(command or SLEEP, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def no_such_pid() -> int:
    with program("true") as process:
        pass
    return process.pid


def test_own_space_shows_own_pages(walker: str, new_map: NewMap) -> None:
    address = new_map(2 * PAGE)
    write(address)
    assert own() is own()
    assert own().pid == os.getpid()
    found = walked(walker, own(), address, address + 2 * PAGE)
    assert list(found["state"]) == ["present", "none"]
    assert set(found["pid"]) == {os.getpid()}


def test_of_smaps_no_more_is_read_than_the_regions_that_are_asked_for(
    new_map: NewMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = kernel_text.read
    texts: list[bytes] = []

    def noted(*arguments: Any, **named: Any) -> bytes:
        texts.append(read(*arguments, **named))
        return texts[-1]

    new_map(PAGE)
    with AddressSpace() as space:
        regions = space.regions()
        monkeypatch.setattr(kernel_text, "read", noted)
        for at in (0, 1, len(regions) // 2, len(regions) - 3):
            first, last = regions[at : at + 2]
            for end, wanted in ((first.end, [first]), (last.start + 1, [first, last])):
                texts.clear()
                found = space.mappings(first.end - 1, end)
                assert [one.region.start for one in found] == [region.start for region in wanted]
                assert all(one.flags and "Rss" in one.bytes for one in found)
                (text,) = texts
                assert text.count(b"VmFlags:") <= at + 1 + len(wanted)
        assert len(space.mappings(0, 1 << 64)) >= len(regions) - 1


def test_a_copy_outlives_what_it_was_made_of(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    walked(walker, own(), address, address + PAGE)  # what is opened once is open
    before = descriptors()
    with AddressSpace() as space:
        copy = space.copy()
    with copy:
        assert copy.pid == os.getpid()
        assert any(region.start <= address < region.end for region in copy.regions())
        assert list(walked(walker, copy, address, address + PAGE)["state"]) == ["present"]
    assert descriptors() == before


def test_own_pid_is_the_own_space(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    word = int(words(address)[0])
    for pid in (None, os.getpid()):
        with AddressSpace(pid) as space:
            found = walked(walker, space, address, address + PAGE).iloc[0]
        assert found["state"] == "present"
        assert os.geteuid() or found["pfn"] == word & PM_PFN


@needs_root
def test_space_of_another_process_is_not_ours(walker: str) -> None:
    with program() as other, AddressSpace(other.pid) as space:
        assert space.pid == other.pid
        stack = next(region for region in space.regions() if region.name == "[stack]")
        found = walked(walker, space, stack.start, stack.end)
        present = found[found["state"] == "present"]
        assert len(present)
        for vaddr, frame in zip(present["vaddr"].tolist(), present["pfn"].tolist(), strict=True):
            assert frame == pfn(vaddr, other.pid)


def test_regions_are_those_that_we_mapped(new_map: NewMap) -> None:
    address = new_map(4 * PAGE)
    mprotect(address + PAGE, PAGE, READ)
    mprotect(address + 2 * PAGE, PAGE, NONE)
    inside = [region for region in own().regions() if address <= region.start < address + 3 * PAGE]
    assert [(region.start - address, region.permissions) for region in inside[:3]] == [
        (0, "rw-p"),
        (PAGE, "r--p"),
        (2 * PAGE, "---p"),
    ]
    assert own().kernel_page_sizes()[address] == PAGE


def test_regions_of_a_range_are_those_that_have_addresses_in_it() -> None:
    with program() as process, AddressSpace(process.pid) as space:
        every = space.regions()
        edges = sorted({edge for region in every for edge in (region.start, region.end)})
        ranges = [(0, 1), *pairwise(edges), *((edge - PAGE, edge + PAGE) for edge in edges[1:]), (edges[3], edges[-3])]
        for first, end in ranges:
            wanted = [region for region in every if region.start < end and region.end > first]
            assert space.regions(first, end) == wanted, (hex(first), hex(end))


@pytest.mark.parametrize("size", [1, 7, 100, 4096])
def test_the_regions_above_a_range_are_not_read(size: int) -> None:
    lines = [b"%x000-%x000 r--p 00000000 fe:01 7 %s /lib\\012b" % (at, at + 1, b" " * at) for at in range(1, 60)]
    text = b"".join(line + b"\n" for line in lines)
    enough, read = regions.Until(0x5800), b""
    for at in range(0, len(text), size):
        read += text[at : at + size]
        if enough(text[at : at + size]):
            break
    assert len(read) - size <= text.index(b"\n7000-")  # the region before is the first that begins above the range
    assert [region.start for region in regions.of_maps(read, -1, (0x1000, 0x5800))] == [at << 12 for at in range(1, 6)]


def test_region_names_are_paths_even_odd_ones(new_map: NewMap, tmp_path: Path) -> None:
    path = tmp_path / "a (b) - c.so 1"
    path.write_bytes(bytes(PAGE))
    with path.open("r+b") as file:
        address = new_map(PAGE, READ | WRITE, 1, file.fileno())
    assert [region.name for region in own().regions() if region.start == address] == [str(path)]


def test_no_such_pid_says_so() -> None:
    pid = no_such_pid()
    before = descriptors()
    with pytest.raises(NoSuchProcessError, match=rf"pid {pid}: no such process.*ps -e"):
        AddressSpace(pid)
    assert descriptors() == before


@pytest.mark.parametrize("pid", [0, -1, 1 << 40])
def test_numbers_that_can_be_no_pid_are_no_such_process(pid: int) -> None:
    with pytest.raises(NoSuchProcessError, match=f"pid {pid}"):
        AddressSpace(pid)


@needs_root
def test_kernel_thread_has_no_address_space() -> None:
    before = descriptors()
    with pytest.raises(NoAddressSpaceError, match="pid 2: a kernel thread"):
        AddressSpace(2)
    assert descriptors() == before


def test_zombie_has_no_address_space() -> None:
    with program() as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        before = descriptors()
        with pytest.raises(NoAddressSpaceError, match=f"pid {process.pid}: a zombie"):
            AddressSpace(process.pid)
        assert descriptors() == before


@needs_root
def test_process_of_another_user_is_denied_and_own_is_not() -> None:
    code = f"""
import os, pte_magic
from pte_magic.linux.address_space import AddressSpace
print(AddressSpace(os.getpid()).pid == os.getpid())
before = len(os.listdir("/proc/self/fd"))
try:
    AddressSpace({os.getpid()})
except pte_magic.PteMagicError as error:
    print(type(error).__name__, error)
print(len(os.listdir("/proc/self/fd")) - before)
"""
    mine, denied, leaked = python(code, user=NOBODY).splitlines()
    assert mine == "True"
    assert denied.startswith(f"AccessDeniedError pid {os.getpid()}: permission denied; ")
    assert leaked == "0"


@pytest.mark.parametrize("reaped", [False, True])
def test_process_that_exited_since_it_was_opened_is_gone(walker: str, *, reaped: bool) -> None:
    with program() as process, AddressSpace(process.pid) as space:
        assert len(walkers.get(walker).walk(space, 0, hardware.user_limit()))
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if reaped:
            process.wait()
        for start, end in ((0, hardware.user_limit()), (0, PAGE)):
            with pytest.raises(NoAddressSpaceError, match=rf"pid {process.pid}: (a zombie|exited)"):
                walkers.get(walker).walk(space, start, end)


def test_process_that_called_exec_since_it_was_opened_is_gone(walker: str) -> None:
    code = f"import os; print('up', flush=True); input(); os.execv({sys.executable!r}, {SLEEP!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdout.readline()
            with AddressSpace(process.pid) as old:
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == "up\n"
                with pytest.raises(NoAddressSpaceError, match="exec"):
                    walkers.get(walker).walk(old, 0, hardware.user_limit())
                with AddressSpace(process.pid) as new:
                    assert len(walkers.get(walker).walk(new, 0, hardware.user_limit()))
        finally:
            process.kill()


def test_nothing_stays_open(walker: str) -> None:
    walkers.get(walker).walk(own(), 0, PAGE)
    before = descriptors()
    with AddressSpace() as space:
        assert descriptors() > before
        assert os.get_inheritable(space.fileno()) is False
    space.close()
    assert descriptors() == before
    with program() as process:
        pte_magic.entries("all", pid=process.pid, walker=walker)
        pte_magic.walk(0, PAGE, pid=process.pid, walker=walker)
        process.kill()
        process.wait()
        with pytest.raises(PteMagicError):
            pte_magic.entries("all", pid=process.pid, walker=walker)
    assert descriptors() == before
    assert "closed" in repr(space)


def test_forked_child_has_its_own_space(walker: str, new_map: NewMap) -> None:
    address = new_map(2 * PAGE)
    write(address)
    parents = own()

    def look() -> tuple[int, bool, list[str], int, int]:
        write(address)
        write(address + PAGE)
        found = walked(walker, own(), address, address + 2 * PAGE)
        same = own() is parents or parents.fd >= 0  # the parent's is closed, whoever has it
        frame = found["pfn"].fillna(0).iloc[0]
        return own().pid, same, list(found["state"]), int(frame), int(words(address)[0]) & PM_PFN

    with forked(look) as child:
        pid, same, states, frame, told = child.step()
        assert (pid, same, states) == (child.pid, False, ["present", "present"])
        assert frame == told
        if os.geteuid() == 0:
            assert frame != pfn(address)
    assert list(walked(walker, own(), address, address + 2 * PAGE)["state"]) == ["present", "none"]


@needs_root
def test_pid_namespace_shows_the_pids_that_are_seen_in_it(
    walker: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if walker == "helper":
        monkeypatch.setenv(helper_protocol.VARIABLE, str(request.getfixturevalue("helper").path))
    code = f"""
import ctypes, json, os, mmap, time
import numpy as np
from pte_magic import walk
memory = np.ones(8192, np.uint8)
at = memory.ctypes.data & -4096
child = os.fork()
if not child:
    memory[:] = 2
    os.write(1, b"")
    time.sleep(600)
def told(pid):
    fd = os.open(f"/proc/{{pid}}/pagemap", os.O_RDONLY)
    return int.from_bytes(os.pread(fd, 8, at // 4096 * 8), "little")
while told(child) == told(os.getpid()):
    time.sleep(0.01)
rows = []
for pid in (None, os.getpid(), child):
    frame = walk(at, at + 4096, pid=pid, walker={walker!r})
    rows.append([int(frame["pid"].iloc[0]), int(frame["pfn"].iloc[0]), told(pid or "self")])
os.kill(child, 9)
os.wait()
print(json.dumps([os.getpid(), child, rows]))
"""
    pid, child, rows = json.loads(python(code, "unshare", "--pid", "--fork", "--mount-proc"))
    assert pid == 1
    assert [row[0] for row in rows] == [1, 1, child]
    for _, frame, told in rows:
        assert told & PM_PRESENT
        assert frame == told & PM_PFN
    assert rows[0][1] == rows[1][1] != rows[2][1]


def test_stopped_process_can_be_walked(walker: str) -> None:
    with program() as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        with AddressSpace(process.pid) as space:
            assert len(walkers.get(walker).walk(space, 0, hardware.user_limit()))


@pytest.mark.parametrize(
    "error",
    [NoSuchProcessError(7), AccessDeniedError(7), NoAddressSpaceError(7, "why")],
    ids=lambda e: type(e).__name__,
)
def test_errors_cross_to_another_process(error: PteMagicError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), str(again), again.pid) == (type(error), str(error), 7)
