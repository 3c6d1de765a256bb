"""The child of a lesson: what it does is seen in pagemap, and it is reaped, whatever happens to its parent."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import descriptors, needs_root
from handmade import PAGE, pfn, words
from waiting import SECONDS, wait_until

from pte_magic.errors import WorkloadError
from pte_magic.linux.address_space import own
from pte_magic.workloads import fork_with, private_mapping, protect, shared_mapping
from pte_magic.workloads.forked_process import Forked

if TYPE_CHECKING:
    from collections.abc import Iterator

PRESENT, EXCLUSIVE = 1 << 63, 1 << 56


def is_there(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> list[str]:
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii").split()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    own()  # a descriptor that is kept
    gc.collect()
    before = set(children()), descriptors()
    yield
    gc.collect()
    assert set(children()) <= before[0]
    assert descriptors() <= before[1]


def test_what_a_child_is_is_said_in_a_line() -> None:
    with fork_with(private_mapping(1)) as child:
        assert repr(child) == f"<Child: pid {child.pid}, not ended>"
    assert repr(child) == f"<Child: pid {child.pid}, returncode {-signal.SIGKILL}>"


def test_it_writes_and_reads_in_its_own_memory() -> None:
    a = private_mapping(4)
    a[:2] = 1
    with fork_with(a) as child:
        assert child.read(0) == 1
        child.write(0, 9)
        assert child.read(0) == 9
        assert a[0, 0] == 1
        first, second, third, _ = (int(word) for word in words(a.ctypes.data, a.nbytes, child.pid))
        assert first & PRESENT
        assert first & EXCLUSIVE
        assert second & PRESENT
        assert not second & EXCLUSIVE  # still ours, too
        assert not third & PRESENT
        child.read(2)
        assert int(words(a.ctypes.data, a.nbytes, child.pid)[2]) & PRESENT
        assert not int(words(a.ctypes.data, a.nbytes)[2]) & PRESENT
    assert child.returncode == -signal.SIGKILL


@needs_root
def test_who_writes_gets_the_new_frame() -> None:
    a = private_mapping(1)
    a[0, 0] = 1
    before = pfn(a.ctypes.data)
    with fork_with(a) as child:
        assert pfn(a.ctypes.data, child.pid) == before
        child.write(0)
        assert pfn(a.ctypes.data, child.pid) != before
        assert pfn(a.ctypes.data) == before


def test_shared_memory_is_one() -> None:
    a = shared_mapping(2)
    with fork_with(a) as child:
        child.write(1, 200)
        assert a[1, 0] == 200
        a[0, 0] = 3
        assert child.read(0) == 3


def test_any_array_will_do_and_pages_are_those_that_it_touches() -> None:
    whole = np.zeros(3 * PAGE, np.uint8)
    begin = -whole.ctypes.data % PAGE + PAGE - 8
    a = whole[begin : begin + 16].view(np.uint64)  # 8 bytes in each of two pages
    with fork_with(a) as child:
        child.write(0, 1)
        child.write(1, 2)
        assert (child.read(0), child.read(1)) == (1, 2)
        with pytest.raises(WorkloadError, match="page 2 does not exist; those of the array are 0 to 1"):
            child.read(2)
        with pytest.raises(WorkloadError, match="page -1 "):
            child.write(-1)
    assert not a.any()


@pytest.mark.parametrize("thing", [np.ones((9, 9))[:, 1], b"abc", np.array([{}]), np.empty(0)])
def test_what_is_no_array_of_numbers_side_by_side_is_refused(thing: Any) -> None:
    with pytest.raises(WorkloadError, match="type np"):
        fork_with(thing)


def test_of_a_masked_array_the_elements_are_written() -> None:
    array = np.ma.array(np.zeros(8, np.uint8), mask=[False, True] * 4)
    with fork_with(array) as child:
        child.write(0, 7)
        assert child.read(0) == 7
        assert array.data[0] == 0


def test_an_array_that_is_read_only_is_read_and_not_written() -> None:
    array = np.ones(PAGE, np.uint8)
    array.flags.writeable = False
    with fork_with(array) as child:
        assert child.read(0) == 1
        with pytest.raises(WorkloadError, match=r"^the array is read-only, "):
            child.write(0, 2)
        assert child.read(0) == 1


def test_an_error_in_the_child_is_raised_here_and_it_serves_on() -> None:
    a = private_mapping(1)
    with fork_with(a) as child:
        with pytest.raises(IndexError):
            child.call("no place", None)
        with pytest.raises(WorkloadError, match="value=256 does not fit in a byte"):
            child.write(0, 256)
        child.write(0, 255)


def test_a_write_that_is_not_allowed_ends_the_child_and_says_by_what(capfd: pytest.CaptureFixture[str]) -> None:
    a = private_mapping(1)
    a[0, 0] = 1
    with protect(a, "r"), fork_with(a) as child:
        assert child.read(0) == 1
        for _ in range(2):
            with pytest.raises(WorkloadError, match=f"pid {child.pid}, has ended, killed by SIGSEGV; fork another"):
                child.write(0)
    assert child.returncode == -signal.SIGSEGV
    assert capfd.readouterr().err == ""  # pytest has the fault handler on, as Jupyter has


def test_an_exception_ends_it() -> None:
    a = private_mapping(1)
    with pytest.raises(ZeroDivisionError), fork_with(a) as child:
        1 / 0  # noqa: B018
    assert child.returncode == -signal.SIGKILL
    with pytest.raises(WorkloadError, match="has ended, killed by SIGKILL"):
        child.read(0)
    child.close()


def test_nobody_holds_it() -> None:
    child = fork_with(private_mapping(1))
    pid = child.pid
    assert is_there(pid)
    del child
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


def test_somebody_else_reaped_it() -> None:
    child = fork_with(private_mapping(1))
    os.kill(child.pid, signal.SIGTERM)
    os.waitpid(child.pid, 0)
    with pytest.raises(WorkloadError, match="has ended; fork another"):
        child.read(0)
    assert child.returncode is None


def test_an_interrupt_while_it_works_ends_it() -> None:
    def interrupt_and_never_answer() -> None:
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(SECONDS)

    with Forked(interrupt_and_never_answer) as child, pytest.raises(KeyboardInterrupt):
        child.call()
    assert child.returncode == -signal.SIGKILL


def test_interrupts_are_not_meant_for_it() -> None:
    with fork_with(private_mapping(1)) as child:
        os.kill(child.pid, signal.SIGINT)
        assert child.read(0) == 0


def test_it_holds_no_pipe_open() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program, _child():
        assert program.communicate(b"x", timeout=SECONDS)[0] == b"x"


@contextmanager
def _child() -> Iterator[Any]:
    with fork_with(private_mapping(1)) as child:
        yield child


def test_it_dies_with_the_thread_that_forked_it() -> None:
    with ThreadPoolExecutor(1) as pool:
        child = pool.submit(fork_with, private_mapping(1)).result()
        assert child.read(0) == 0
    wait_until(lambda: not is_there(child.pid))
    child.close()
    assert child.returncode == -signal.SIGKILL


PARENT = """
import os, sys, time
from pte_magic.workloads import fork_with, private_mapping
child = fork_with(private_mapping(1))
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_dies_with_its_parent(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert is_there(pid)
        parent.send_signal(number)
        parent.wait(SECONDS)
    wait_until(lambda: not is_there(pid))
