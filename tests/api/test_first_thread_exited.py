"""A process is not its first thread: what others do in its address space when that one has exited."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import NOBODY, descriptors, needs_root, python, walked
from handmade import PAGE, PM_PFN, PM_PRESENT
from waiting import wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.api.machine import visiting
from pte_magic.errors import NoAddressSpaceError, PteMagicError
from pte_magic.linux import hardware, kernel_text
from pte_magic.linux.address_space import AddressSpace
from pte_magic.walkers.helper_protocol import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from serving import Helper

pytestmark = pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) == 4, reason="needs a 64-bit Python: numbers of calls")

EXIT = f"ctypes.CDLL(None).syscall({ {'arm64': 93}.get(hardware.machine(), 60) }, 0)"  # exit(2), of one thread
PAGES = 64
BODY = f"""
import ctypes, mmap, os, threading, time
memory = mmap.mmap(-1, {PAGES * PAGE}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)  # nor larger pages of other sizes, where the system gives them to everybody
memory[: {PAGES * PAGE // 2}] = bytes([7]) * {PAGES * PAGE // 2}
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
"""
WAITING = f"""{BODY}
def first():
    os.read(0, 1)
def second():
    time.sleep(600)
for work in (first, second):
    threading.Thread(target=work).start()
print(address, flush=True)
"""


@contextmanager
def leaderless(code: str = f"{WAITING}{EXIT}") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a program whose first thread exits, and wait until it has; yield it, and an address of its memory."""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            address = int(process.stdout.readline())
            wait_until(lambda: state(process.pid) == b"Z")
            yield process, address
        finally:
            process.kill()


def state(pid: int) -> bytes:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]


def threads(pid: int) -> list[int]:
    return sorted(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir() if path.name != str(pid))


def told(pid: int, address: int, thread: int) -> NDArray[np.uint64]:
    """Return the words that a thread's own pagemap has of the memory."""
    with Path(f"/proc/{pid}/task/{thread}/pagemap").open("rb", buffering=0) as file:
        file.seek(address // PAGE * 8)
        return np.frombuffer(file.read(PAGES * 8), np.uint64)


def test_its_memory_is_walked(walker: str) -> None:
    with leaderless() as (process, address), AddressSpace(process.pid) as space:
        found = walked(walker, space, address, address + PAGES * PAGE)
        words = told(process.pid, address, threads(process.pid)[0])
        present = found[found["state"] == "present"]
        assert present["size"].sum() == PAGES * PAGE // 2 == np.count_nonzero(words & np.uint64(PM_PRESENT)) * PAGE
        assert set(found["pid"]) == {process.pid}
        assert space.thread == threads(process.pid)[0]
        if os.geteuid() == 0 and len(present) == PAGES // 2:
            assert present["pfn"].tolist() == (words[: PAGES // 2] & np.uint64(PM_PFN)).tolist()


def test_regions_page_sizes_and_status_are_there() -> None:
    with leaderless() as (process, address), AddressSpace(process.pid) as space:
        (region,) = (region for region in space.regions() if region.start <= address < region.end)
        assert region.permissions == "rw-p"
        assert space.kernel_page_sizes()[region.start] == PAGE
        assert space.status()["Pid"] == str(process.pid)
        assert space.status()["PPid"] == str(os.getpid())
        assert "[stack]" in [region.name for region in space.regions()]


@pytest.mark.parametrize("copied", [False, True])
def test_the_next_thread_is_asked_when_one_ends(*, copied: bool) -> None:
    with leaderless() as (process, address), AddressSpace(process.pid) as space:
        asked = space.copy() if copied else space
        with asked:
            before = {region.start for region in asked.regions()}
            first, second = threads(process.pid)
            assert asked.thread == first
            assert process.stdin
            process.stdin.write(b"\n")
            process.stdin.flush()
            wait_until(lambda: threads(process.pid) == [second])
            after = {region.start for region in asked.regions()}
            assert len(before & after) > len(before) / 2
            assert any(region.start <= address < region.end for region in asked.regions())
            assert asked.thread == second
            assert asked.kernel_page_sizes()
            found = walked("pagemap", asked, address, address + PAGES * PAGE)
            assert found[found["state"] == "present"]["size"].sum() == PAGES * PAGE // 2


def test_threads_that_follow_each_other_fast_are_found() -> None:
    hopping = f"""{BODY}
def hop():
    threading.Thread(target=hop).start()
hop()
print(address, flush=True)
{EXIT}
"""
    with leaderless(hopping) as (process, address):
        before = descriptors()
        for _ in range(100):
            with AddressSpace(process.pid) as space:
                assert walked("pagemap", space, address, address + PAGE)["state"].tolist() == ["present"]
        assert descriptors() == before
        process.kill()


def test_it_has_its_row_among_all_processes() -> None:
    with leaderless() as (process, _):
        table = pte_magic.machine()
        (row,) = table[table["pid"] == process.pid].to_dict("records")
        thread = threads(process.pid)[0]
        smaps = Path(f"/proc/{process.pid}/task/{thread}/smaps").read_text(encoding="utf-8")
        assert row["resident"] == sum(int(size) << 10 for size in re.findall(r"^Rss: +(\d+) kB", smaps, re.MULTILINE))
        assert row["name"].encode() + b"\n" == Path(f"/proc/{process.pid}/comm").read_bytes()
        assert process.pid not in table.attrs["left_out"]


def test_it_is_in_a_snapshot_of_all(tmp_path: Path) -> None:
    with leaderless() as (process, address):
        done = pte_magic.snapshot(tmp_path, "all").loc[process.pid]
        assert done["rows"] > PAGES // 2
        assert done.isna()["error"]
    found = pte_magic.load(tmp_path).frame(pid=process.pid, start=address, end=address + PAGES * PAGE)
    assert found[found["state"] == "present"]["size"].sum() == PAGES * PAGE // 2


def test_frames_has_its_regions() -> None:
    with leaderless() as (process, address):
        found = pte_magic.walk(address, address + PAGE, pid=process.pid).frames()
        assert found["permissions"].tolist() == ["rw-p"]


def test_it_is_watched_when_the_first_thread_exits_meanwhile(walker: str) -> None:
    code = WAITING.replace("os.read(0, 1)", "time.sleep(600)") + f"os.read(0, 1)\n{EXIT}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin
            assert process.stdout
            address = int(process.stdout.readline())
            with pte_magic.watch(address, address + PAGES * PAGE, pid=process.pid, walker=walker, every=0.01) as watch:
                process.stdin.write(b"\n")
                process.stdin.flush()
                wait_until(lambda: state(process.pid) == b"Z")
                for _ in range(3):
                    watch._look()
                last = watch.frame().groupby("time")
                assert all(look[look["state"] == "present"]["size"].sum() == PAGES * PAGE // 2 for _, look in last)
                assert watch.running
                process.kill()
                process.wait()
                wait_until(lambda: not watch.running)
                assert f"pid {process.pid}" in watch.history().headline
        finally:
            process.kill()


def test_when_all_threads_have_exited_it_is_a_zombie() -> None:
    with leaderless() as (process, _), AddressSpace(process.pid) as space:
        process.kill()
        wait_until(lambda: threads(process.pid) == [])
        with pytest.raises(NoAddressSpaceError, match=f"pid {process.pid}: a zombie"):
            AddressSpace(process.pid)
        with pytest.raises(NoAddressSpaceError, match=f"pid {process.pid}: a zombie"):
            walkers.get("pagemap").walk(space, 0, hardware.user_limit())


@needs_root
def test_of_another_user_it_is_denied_and_no_zombie() -> None:
    with leaderless() as (process, _):
        code = f"""
from pte_magic.linux.address_space import AddressSpace
try:
    AddressSpace({process.pid})
except pte_magic.PteMagicError as error:
    print(type(error).__name__)
"""
        assert python(code, user=NOBODY) == "AccessDeniedError"


@pytest.mark.parametrize("opened", ["before", "after"])
def test_a_notebook_whose_first_thread_exited_sees_its_own_memory(
    walker: str, opened: str, helper: Helper | None
) -> None:
    socket = helper.path if helper else "/nonexistent"
    code = f"""{BODY}
import pte_magic
from pte_magic.linux.address_space import own
if {opened == "before"}:
    own()
def work():
    while open("/proc/self/stat", "rb").read().rpartition(b")")[2].split()[0] != b"Z":
        time.sleep(0.01)
    found = pte_magic.walk(address, address + {PAGES * PAGE}, walker={walker!r})
    print(found[found["state"] == "present"]["size"].sum(), set(found["pid"]) == {{os.getpid()}})
    print(found.frames()["permissions"].iloc[0], bool(pte_magic.walk("[stack]").shape[0]))
    print(len(pte_magic.doctor()), os.getpid() in set(pte_magic.machine(walker={walker!r})["pid"]), flush=True)
    os._exit(0)
threading.Thread(target=work).start()
{EXIT}
"""
    found = python(code, "env", f"{VARIABLE}={socket}").split()
    assert found == [str(PAGES * PAGE // 2), "True", "rw-p", "True", "4", "True"]


def test_vfork_is_told_by_the_thread_that_lives() -> None:
    with leaderless() as (process, _), leaderless() as (other, _):
        for pid in (process.pid, other.pid):  # neither has its parent's memory, though no first thread has any
            with AddressSpace(pid) as space:
                assert not visiting.borrowed(space)


def test_threads_of_a_process_are_listed() -> None:
    with leaderless() as (process, _), AddressSpace(process.pid) as space:
        assert kernel_text.threads(space._directory) == [process.pid, *threads(process.pid)]
        assert "closed" not in repr(space)
        with pytest.raises(PteMagicError):
            AddressSpace(1 << 22)
