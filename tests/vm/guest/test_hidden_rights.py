"""To whom the module of the stap walker shows page frames: to whom the kernel shows them in the same pagemap file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from conftest import forked
from entry_bits import address_mask
from handmade import NOHUGEPAGE, PAGE, PM_PFN, NewMap, check, libc, pfn, write
from loaded import wait_until_nothing_is_left
from member import Opened, become, member, module_installed, seen

import pte_magic
from pte_magic import walkers
from pte_magic.errors import AccessDeniedError
from pte_magic.linux.address_space import AddressSpace, own

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWUSER = 0x10000000
PIDFD_GETFD = 438  # asm-generic/unistd.h


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    with module_installed():
        yield
    wait_until_nothing_is_left()


@pytest.fixture
def address(new_map: NewMap) -> int:
    """Address of a page that was written."""
    found = new_map(PAGE, advice=NOHUGEPAGE)
    write(found)
    return found


def look(fd: int, address: int) -> tuple[int, bool, int]:
    """Return the frame that the walker shows of a page, whether it says that frames are hidden, and pagemap's frame."""
    entry, _, frames_hidden = seen(Opened(fd), address, address + PAGE)
    assert int(entry[0]) & 1, "not present"
    word = int.from_bytes(os.pread(fd, 8, address // PAGE * 8), "little")
    return int(entry[0] & address_mask()) // PAGE, frames_hidden, word & PM_PFN


def taken(pid: int, fd: int) -> int:
    """Return a descriptor of another process, which root may take."""
    process = os.pidfd_open(pid)
    try:
        got = int(libc.syscall(PIDFD_GETFD, process, fd, 0))
        check(got)
        return got
    finally:
        os.close(process)


def test_root_sees_frames(address: int) -> None:
    assert look(own().fd, address) == (pfn(address), False, pfn(address))


def test_a_member_sees_no_frames_of_his_own(address: int) -> None:
    with forked(member, lambda: look(own().fd, address)) as child:
        child.step()
        assert child.step() == (0, True, 0)


def test_a_member_sees_nothing_of_another_user(address: int) -> None:
    root = os.getpid()

    def look_at_root() -> str:
        try:
            with AddressSpace(root) as space:
                return str(look(space.fd, address))
        except AccessDeniedError as error:
            return repr(error.__cause__)

    with forked(member, lambda: look(own().fd, address), look_at_root) as child:
        child.step()
        child.step()
        assert child.step() == "PermissionError(13, 'Permission denied')"


def test_what_root_opened_shows_frames_to_whom_it_is_given(address: int) -> None:
    with AddressSpace() as space, forked(member, lambda: look(space.fd, address)) as child:
        child.step()
        assert child.step() == (pfn(address), False, pfn(address))


def test_root_of_a_user_namespace_is_not_root(address: int) -> None:
    def open_in_a_namespace() -> int:
        become()
        check(libc.unshare(CLONE_NEWUSER))
        return os.open("/proc/self/pagemap", os.O_RDONLY)

    with forked(open_in_a_namespace) as there:
        fd = taken(there.pid, there.step())
        try:
            with forked(member, lambda: look(fd, address)) as child:
                child.step()
                assert child.step() == (0, True, 0)
            # Root opened the module's file here, as a helper would that decides for itself what it passes on.
            assert look(fd, address) == (pfn(address, there.pid), False, 0)
        finally:
            os.close(fd)


@pytest.mark.parametrize("first", ["root's", "his own"])
def test_each_call_is_judged_anew(address: int, first: str) -> None:
    """One and the same walker is asked with a descriptor that shows frames, and with one that does not."""
    with AddressSpace() as space:

        def both() -> list[bool]:
            order = [space.fd, own().fd] if first == "root's" else [own().fd, space.fd]
            return [look(fd, address)[1] for fd in order]

        with forked(member, both) as child:
            child.step()
            assert child.step() == ([False, True] if first == "root's" else [True, False])


def test_a_member_is_told_what_is_missing(address: int) -> None:
    def told() -> tuple[bool, bool, str]:
        found = pte_magic.walk(address, walker="stap")
        note = pte_magic.doctor().set_index("walker").loc["stap", "note"]
        return bool(found["pfn"].isna().all()), bool(found["entry"].notna().all()), str(note)

    with forked(member, told, walkers.close) as child:
        child.step()
        no_frame, entry, note = child.step()
        assert no_frame
        assert entry
        assert note.startswith("no page frame numbers or swap locations without CAP_SYS_ADMIN")
        child.step()
