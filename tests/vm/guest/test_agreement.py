"""On every kernel of the lab all sources say the same of memory in its usual states; rarer ones have their files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from agreement import agree
from conftest import WALKERS, forked
from handmade import (
    ANONYMOUS,
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    PAGE,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    NewMap,
    hugetlb,
    mprotect,
    smaps,
    write,
)
from pools import pool

from pte_magic import walkers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 2 * HUGE


def untouched(new_map: NewMap) -> int:
    return new_map(SIZE)


def written(new_map: NewMap) -> int:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    write(address, SIZE)
    return address


def huge(new_map: NewMap) -> int:
    address = new_map(SIZE, advice=HUGEPAGE)
    write(address, SIZE)
    assert smaps(address, "AnonHugePages") == SIZE
    return address


def no_access(new_map: NewMap) -> int:
    address = written(new_map)
    mprotect(address, SIZE, NONE)
    return address


def no_access_to_huge(new_map: NewMap) -> int:
    address = huge(new_map)
    mprotect(address, HUGE, NONE)
    return address


def memfd(new_map: NewMap) -> int:
    fd = os.memfd_create("test")
    try:
        os.ftruncate(fd, SIZE)
        address = new_map(SIZE, READ | WRITE, SHARED, fd)
    finally:
        os.close(fd)
    write(address, 3 * PAGE)
    return address


def of_hugetlb(new_map: NewMap) -> int:
    address = new_map(SIZE, flags=PRIVATE | ANONYMOUS | hugetlb())
    write(address, HUGE)
    return address


MEMORY = (untouched, written, huge, no_access, no_access_to_huge, memfd, of_hugetlb)


@pytest.mark.usefixtures("helper")
def test_all_walkers_work_here() -> None:
    for name in WALKERS:
        assert walkers.get(name).name == name


@pytest.fixture(autouse=True)
def _pool() -> Iterator[None]:
    with pool():
        yield


@pytest.mark.parametrize("make", MEMORY, ids=[make.__name__ for make in MEMORY])
def test_all_sources_agree(make: Callable[[NewMap], int], new_map: NewMap) -> None:
    address = make(new_map)
    found = agree(address, SIZE)
    assert ("present" in set(found["state"])) == (make not in {untouched, no_access})
    assert ("protnone" in set(found["state"])) == (make in {no_access, no_access_to_huge})
    huge_pages = found[(found["size"] == HUGE) & (found["state"] != "none")]
    assert set(huge_pages["level"]) == ({HUGE_LEVEL} if make in {huge, no_access_to_huge, of_hugetlb} else set())


def test_all_sources_agree_on_another_process(new_map: NewMap) -> None:
    address = written(new_map)
    with forked(lambda: write(address, PAGE)) as child:
        child.step()
        ours, theirs = agree(address, SIZE), agree(address, SIZE, child.pid)
        assert (ours["pfn"] != theirs["pfn"]).tolist() == [True] + [False] * (SIZE // PAGE - 1)
