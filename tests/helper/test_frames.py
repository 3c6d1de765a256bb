"""Page frame numbers: for whom the administrator named, and for nobody else, by no way around."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from conftest import NOBODY, become, forked, needs_root
from handmade import PAGE, PM_PFN, PM_PRESENT, check, libc, words
from talking import Talker, opened
from waiting import wait_until

import pte_magic
from pte_magic.walkers.helper_protocol import FRAMES_HIDDEN, MEMORY, TABLES, Status
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Helper

pytestmark = needs_root

FRAME = 0x000F_FFFF_FFFF_F000
ROOTS, MEMBER = 0, 54322  # the group that sees frames, and a user
_MODES = (os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_TRUNC)


def as_nobody() -> None:
    become(NOBODY)


def as_member() -> None:
    os.setgroups([ROOTS, NOBODY])
    os.setgid(MEMBER)
    os.setuid(MEMBER)
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


def as_root_of_other_groups() -> None:
    os.setgroups([])
    os.setgid(MEMBER)


def as_root_without_capabilities() -> None:
    """As in a container: the user is 0, and what belongs to that one."""
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # linux/capability.h
    check(libc.capset(header, nothing))


@pytest.mark.parametrize(
    ("be", "shown"), [(as_nobody, False), (as_member, True), (as_root_of_other_groups, False)],
    ids=["nobody", "member", "root"],
)  # fmt: skip
def test_frames_are_shown_to_the_members_of_the_group_only(
    be: Callable[[], None], *, shown: bool, served: Helper
) -> None:
    array = private_mapping(16)
    array[3:9] = 1
    address = array.ctypes.data

    def look() -> tuple[list[Any], list[int], bool]:
        be()
        array[3:9] = 2  # it has pages of its own now
        found = pte_magic.walk(address, address + 16 * PAGE, walker="helper")
        frames = [None if pd.isna(frame) else int(frame) for frame in found["pfn"]]
        with opened() as fd, Talker(served.path) as talker:
            talker.ask(fd, address, address + 16 * PAGE, flags=TABLES, origin=address)
            return frames, list(talker.entries(20)), bool(talker.greeting[3] & FRAMES_HIDDEN)

    with forked(look) as child:
        frames, raw, hidden = child.step()
        pagemap = words(address, 16 * PAGE, child.pid).tolist()
        told = [word & PM_PFN if word & PM_PRESENT else None for word in pagemap]
    assert hidden is not shown
    assert frames == (told if shown else [None] * 16)
    assert any(entry & FRAME for entry in raw) is shown  # tables' entries hold frames, too


def test_nothing_else_of_the_memory_holds_what_is_hidden(served: Helper) -> None:
    array = private_mapping(1 << 10)

    def look() -> bool:
        as_nobody()
        array[:] = 1
        with opened() as fd, Talker(served.path) as talker:
            for flags in (0, TABLES):
                answer = talker.ask(fd, array.ctypes.data, array.ctypes.data + array.nbytes, flags=flags)
                assert answer.status == Status.OK
            return any(entry & FRAME for entry in talker.entries(1 << 17))

    with forked(look) as child:
        assert not child.step()


def refused(function: Callable[[], object]) -> str:
    try:
        function()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "allowed"


@pytest.mark.parametrize("be", [as_nobody, as_root_without_capabilities])
def test_a_client_cannot_write_to_the_memory_nor_change_its_size(be: Callable[[], None], served: Helper) -> None:
    def attempt() -> list[str]:
        be()
        with Talker(served.path) as talker:
            fd = talker.memory
            mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
            tries: list[Callable[[], object]] = [
                lambda: os.write(fd, b"x"),
                lambda: mmap.mmap(fd, 0),
                lambda: os.ftruncate(fd, 0),
                lambda: os.posix_fallocate(fd, 0, 2 * MEMORY),
                lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
                lambda: os.fchmod(fd, 0o777),
                *(lambda mode=mode: os.open(f"/proc/self/fd/{fd}", mode) for mode in _MODES),
                lambda: mapped.madvise(mmap.MADV_REMOVE),
            ]
            return [refused(function) for function in tries]

    with forked(attempt) as child:
        assert "allowed" not in child.step()


def test_the_memory_is_given_back_when_the_connection_ends_though_its_descriptor_is_kept(served: Helper) -> None:
    talker = Talker(served.path)
    assert os.fstat(talker.memory).st_blocks * 512 >= MEMORY
    talker.socket.close()
    try:
        wait_until(lambda: os.fstat(talker.memory).st_blocks == 0)
        assert os.fstat(talker.memory).st_size == MEMORY  # so that nobody who still reads meets SIGBUS
    finally:
        os.close(talker.memory)
