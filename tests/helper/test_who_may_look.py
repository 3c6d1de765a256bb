"""Whose tables the helper shows to whom: as the kernel decided when the pagemap was opened."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, become, forked, needs_root
from handmade import PAGE, PM_PRESENT, words
from talking import Talker, opened
from waiting import wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.errors import AccessDeniedError
from pte_magic.linux.address_space import AddressSpace
from pte_magic.walkers.helper_protocol import Status
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving import Helper

pytestmark = needs_root

FRAME = 0x000F_FFFF_FFFF_F000
SOMEBODY = 1
_CLONE3 = 435


def test_nobody_gets_the_raw_entries_of_his_own_memory(served: Helper) -> None:
    array = private_mapping(8)
    address = array.ctypes.data

    def look() -> tuple[list[int], bool, str]:
        become(NOBODY)
        array[:2] = 1
        found = pte_magic.walk(address, address + 8 * PAGE)
        return [int(entry) for entry in found["entry"]], bool(found["pfn"].isna().all()), str(found["walker"].iloc[0])

    with forked(look) as child:
        entries, hidden, walker = child.step()
        told = words(address, 8 * PAGE, child.pid)
        with AddressSpace(child.pid) as space:
            raw = walkers.get("bpf").walk(space, address, address + 8 * PAGE).entry
    assert walker == "helper"
    assert hidden
    assert [bool(entry & 1) for entry in entries] == [bool(word & PM_PRESENT) for word in told.tolist()]
    assert sum(entry & 1 for entry in entries) == 2
    assert entries == [entry & ~FRAME for entry in raw.tolist()]
    assert served.requests()[-1] | {"pid": ""} == {
        "uid": str(NOBODY), "pid": "", "owner": str(NOBODY), "range": f"{address:#x}-{address + 8 * PAGE:#x}",
        "rows": "8", "status": "OK",
    }  # fmt: skip


@pytest.mark.parametrize("user", [SOMEBODY, 0], ids=["another user", "root"])
def test_the_kernel_refuses_nobody_the_process_of(user: int, served: Helper) -> None:
    def be() -> None:
        if user:
            become(user)

    def look() -> str:
        become(NOBODY)
        try:
            pte_magic.entries("[stack]", pid=other.pid, walker="helper")
        except AccessDeniedError as error:
            return str(error)
        return "allowed"

    with forked(be) as other, forked(look) as child:
        other.step()
        before = len(served.requests())
        assert f"pid {other.pid}: permission denied" in child.step()
        assert len(served.requests()) == before  # the helper was not even asked


def test_the_descriptor_is_the_permission_as_it_is_for_the_kernel(served: Helper) -> None:
    def look() -> int:
        become(NOBODY)
        with Talker(served.path) as talker:
            return talker.ask(fd, PAGE).status

    with opened() as fd, forked(look) as child:  # root's, and inherited
        assert child.step() == Status.OK


@contextmanager
def setuid_program() -> Iterator[str]:
    """Make a program that runs as root, whoever starts it, and reads its input; in a directory that all can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        program = shutil.copy(shutil.which("cat") or "cat", name)
        Path(program).chmod(0o4755)
        yield program


def effective_user(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text(encoding="utf-8").split("Uid:")[1].split()[1])


def test_of_a_setuid_program_that_was_executed_after_opening_nothing_is_seen(served: Helper) -> None:
    def look() -> tuple[int, int, bool]:
        become(NOBODY)
        go_on, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(go_on, 0)
            os.close(go)
            os.read(0, 1)
            os.execl(program, "cat")  # noqa: S606
        with opened(pid) as fd, Talker(served.path) as talker:
            before = talker.ask(fd, PAGE).status
            os.write(go, b"x")
            wait_until(lambda: effective_user(pid) == 0)
            after = talker.ask(fd, PAGE).status
            opens_again = os.access(f"/proc/{pid}/pagemap", os.R_OK)
        os.close(go)  # it reads the end of its input
        os.waitpid(pid, 0)
        return before, after, opens_again

    with setuid_program() as program, forked(look) as child:
        assert child.step() == (Status.OK, Status.GONE, False)


def forked_as(pid: int) -> bool:
    """Fork a child that waits to be killed and has this pid, if it is free: clone3(2) with set_tid."""
    wanted = (ctypes.c_int * 1)(pid)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size
    arguments = struct.pack("=10Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1)
    got: int = ctypes.PyDLL(None, use_errno=True).syscall(_CLONE3, arguments, len(arguments))
    if got == 0:
        signal.pause()
        os._exit(0)
    return got == pid


def test_another_process_that_got_the_same_pid_is_not_seen(served: Helper) -> None:
    with forked() as first:
        pid = first.pid
        fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    try:
        with Talker(served.path) as talker:
            assert talker.ask(fd, PAGE).status == Status.GONE
            wait_until(lambda: forked_as(pid))
            try:
                assert talker.ask(fd, PAGE).status == Status.GONE
                with opened(pid) as new:
                    assert talker.ask(new, PAGE).status == Status.OK
            finally:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    finally:
        os.close(fd)
