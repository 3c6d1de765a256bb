"""What userfaultfd leaves in the tables: write protection of pages that are there, and markers where none is."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest
from agreement import agree
from conftest import rows
from differences import told
from handmade import (
    DONTNEED,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    READ,
    SHARED,
    WRITE,
    NewMap,
    check,
    libc,
    madvise,
    words,
    write,
)
from swapping import file_system, make_file, page_out, swap_off, swap_on
from versions import release

from pte_magic.linux import hardware, system_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# include/uapi/linux/userfaultfd.h
WP, WP_SHARED, WP_UNPOPULATED, POISON = 1 << 0, 1 << 12, 1 << 13, 1 << 14
SINCE = {WP: (5, 7), WP_SHARED: (5, 19), WP_UNPOPULATED: (6, 4), POISON: (6, 6)}
if hardware.machine() == "arm64":  # 5b32510af77b "arm64/mm: Add uffd write-protect support"
    SINCE |= dict.fromkeys((WP, WP_SHARED, WP_UNPOPULATED), (6, 10))
_MISSING, _WRITE_PROTECTED = 1, 2


def _ioctl(fd: int, number: int, *values: int) -> bytes:
    """Call an ioctl of userfaultfd, which takes a structure of 64-bit numbers and returns it changed."""
    argument = bytearray(b"".join(value.to_bytes(8, "little") for value in values))
    fcntl.ioctl(fd, 3 << 30 | len(argument) << 16 | 0xAA << 8 | number, argument)
    return bytes(argument)


class Uffd:
    """A userfaultfd."""

    def __init__(self, features: int) -> None:
        self.fd = libc.syscall(system_calls.number("userfaultfd"), os.O_CLOEXEC)
        check(self.fd)
        self.features = int.from_bytes(_ioctl(self.fd, 0x3F, 0xAA, features, 0)[8:16], "little")  # UFFDIO_API

    def protect(self, address: int, size: int, of: int | None = None) -> None:
        """Write-protect the beginning of `of` bytes."""
        _ioctl(self.fd, 0x00, address, of or size, _WRITE_PROTECTED, 0)  # UFFDIO_REGISTER
        _ioctl(self.fd, 0x06, address, size, 1)  # UFFDIO_WRITEPROTECT

    def allow(self, address: int, size: int) -> None:
        _ioctl(self.fd, 0x06, address, size, 0)

    def poison(self, address: int, size: int) -> None:
        """Have any access to pages that are not there end in SIGBUS."""
        _ioctl(self.fd, 0x00, address, size, _MISSING, 0)
        _ioctl(self.fd, 0x08, address, size, 0, 0)  # UFFDIO_POISON


@pytest.fixture
def uffd() -> Iterator[Callable[[int], Uffd]]:
    """Make a userfaultfd with a feature, if the kernel has that."""
    made: list[Uffd] = []

    def make(feature: int) -> Uffd:
        made.append(Uffd(0))
        assert bool(made[0].features & feature) == (release() >= SINCE[feature])
        if not made[0].features & feature:
            pytest.skip(f"needs a kernel from {SINCE[feature][0]}.{SINCE[feature][1]} on")
        made.append(Uffd(feature))
        return made[-1]

    yield make
    for one in made:
        os.close(one.fd)


@pytest.mark.parametrize(("size", "advice"), [(PAGE, NOHUGEPAGE), (HUGE, HUGEPAGE)], ids=["small", "huge"])
def test_page_that_is_there_loses_write_and_says_why(
    new_map: NewMap, uffd: Callable[[int], Uffd], size: int, advice: int
) -> None:
    address = new_map(2 * HUGE, advice=advice)
    write(address, HUGE + size)
    before = rows(address, size)
    one = uffd(WP)
    one.protect(address, size, 2 * HUGE)
    between = rows(address, size)
    assert told(before.diff(between)) == {address: {"write-protected", "write-protected by userfaultfd"}}
    found = agree(address, 2 * HUGE)
    assert (found["size"][0], found["uffd_wp"][0], found["rw"][0]) == (size, True, False)
    assert found["uffd_wp"].sum() == 1
    one.allow(address, size)
    assert "no longer write-protected by userfaultfd" in told(between.diff(rows(address, size)))[address]
    assert not agree(address, 2 * HUGE)["uffd_wp"].any()


def test_empty_memory_gets_markers(new_map: NewMap, uffd: Callable[[int], Uffd]) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    one = uffd(WP_UNPOPULATED)
    before = rows(address, 2 * PAGE)
    one.protect(address, 2 * PAGE, 4 * PAGE)
    _is_marked(address)
    between = rows(address, 2 * PAGE)
    assert all("marked for userfaultfd" in words for words in told(before.diff(between)).values())
    assert len(before.diff(between)) == 2
    one.allow(address, 2 * PAGE)
    write(address, 4 * PAGE)
    words_after = told(between.diff(rows(address, 2 * PAGE)))
    assert list(words_after) == [address, address + PAGE]
    assert all({"mapped", "no longer marked for userfaultfd"} <= words for words in words_after.values())
    assert set(agree(address, 4 * PAGE)["state"]) == {"present"}


@pytest.mark.parametrize("before", ["empty", "dropped"])
def test_shared_memory_that_is_not_mapped_gets_markers(
    new_map: NewMap, uffd: Callable[[int], Uffd], before: str
) -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, 4 * PAGE)
    address = new_map(4 * PAGE, READ | WRITE, SHARED, fd)
    os.close(fd)
    one = uffd(WP_SHARED)
    if before == "dropped":
        write(address, 2 * PAGE)
    one.protect(address, 2 * PAGE, 4 * PAGE)
    if before == "dropped":
        assert agree(address, 2 * PAGE)["uffd_wp"].all()
        madvise(address, 2 * PAGE, DONTNEED)  # the page stays in the page cache, and write-protected
    _is_marked(address)


def _is_marked(address: int) -> None:
    found = agree(address, 4 * PAGE)
    assert list(found["state"]) == ["marker", "marker", "none", "none"]
    assert list(found["kind"][:2]) == ["uffd_wp", "uffd_wp"]
    assert list(found["uffd_wp"][:2]) == [True, True]
    assert [int(word) >> 57 & 1 for word in words(address, 4 * PAGE)] == [1, 1, 0, 0]


def test_poisoned_memory_is_marked(new_map: NewMap, uffd: Callable[[int], Uffd]) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    before = rows(address, 4 * PAGE)
    uffd(POISON).poison(address, 2 * PAGE)
    poisoned = {address: {"marked as poisoned"}, address + PAGE: {"marked as poisoned"}}
    assert told(before.diff(rows(address, 4 * PAGE))) == poisoned
    found = agree(address, 4 * PAGE)
    assert list(found["state"]) == ["marker", "marker", "none", "none"]
    assert list(found["kind"][:2]) == ["poisoned", "poisoned"]


def test_swapped_page_stays_write_protected(new_map: NewMap, uffd: Callable[[int], Uffd], tmp_path: Path) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    write(address, 2 * PAGE)
    uffd(WP).protect(address, PAGE, 2 * PAGE)
    with file_system(tmp_path) as place:
        area = make_file(place / "swap", 1024)
        swap_on(area)
        page_out(address, 2 * PAGE)
        found = agree(address, 2 * PAGE)
        swap_off(area)
    assert list(found["state"]) == ["swap", "swap"]
    assert list(found["uffd_wp"]) == [True, False]
    assert list(agree(address, 2 * PAGE)["uffd_wp"]) == [True, False]
