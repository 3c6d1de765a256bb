"""Huge pages, made for real: transparent ones, split and collapsed, and those of hugetlb."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import needs_root, rows
from handmade import (
    ANONYMOUS,
    COLLAPSE,
    DONTNEED,
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PRIVATE,
    PTES,
    READ,
    SHARED,
    WRITE,
    NewMap,
    hugetlb,
    madvise,
    mprotect,
    munmap,
    pfn,
    read,
    smaps,
    write,
)

from pte_magic.linux import sizes
from pte_magic.text import units

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [needs_root, pytest.mark.usefixtures("level_walker")]


def test_huge_page_is_one_pmd_row(walker: str, new_map: NewMap) -> None:
    address = new_map(4 * HUGE, advice=HUGEPAGE)
    write(address + HUGE)
    assert smaps(address, "AnonHugePages") == HUGE
    found = rows(address, 4 * HUGE, walker)
    present = found[found["state"] == "present"].iloc[0]
    assert (found["state"] == "present").sum() == 1
    assert (present["vaddr"], present["size"], present["level"]) == (address + HUGE, HUGE, HUGE_LEVEL)
    assert present["pfn"] == pfn(address + HUGE)
    assert present["pfn"] % PTES == 0


@pytest.mark.parametrize("how", ["munmap", "mprotect", "dontneed"])
def test_split_huge_page_is_ptes_of_the_same_frames(walker: str, new_map: NewMap, how: str) -> None:
    address = new_map(2 * HUGE, advice=HUGEPAGE)
    write(address, HUGE)
    head = pfn(address)
    if how == "munmap":
        munmap(address + HUGE - PAGE, PAGE)
    elif how == "mprotect":
        mprotect(address + HUGE - PAGE, PAGE, READ)
    else:
        madvise(address + HUGE - PAGE, PAGE, DONTNEED)
    assert smaps(address, "AnonHugePages") == 0
    found = rows(address, HUGE, walker)
    assert set(found["level"][:-1]) == {"pte"}
    assert list(found["pfn"][:-1]) == list(range(head, head + PTES - 1))
    assert found.iloc[-1]["state"] == ("present" if how == "mprotect" else "none")


def test_collapsed_pages_become_one_pmd_row(walker: str, new_map: NewMap) -> None:
    address = new_map(HUGE, advice=NOHUGEPAGE)
    write(address, HUGE)
    assert len(rows(address, HUGE, walker)) == PTES
    madvise(address, HUGE, HUGEPAGE)
    madvise(address, HUGE, COLLAPSE)
    assert smaps(address, "AnonHugePages") == HUGE
    found = rows(address, HUGE, walker)
    assert (len(found), found.iloc[0]["level"], found.iloc[0]["pfn"]) == (1, HUGE_LEVEL, pfn(address))


def test_collapsed_shared_memory_becomes_one_pmd_row(walker: str, new_map: NewMap) -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, HUGE)
    address = new_map(HUGE, READ | WRITE, SHARED, fd)
    os.close(fd)
    write(address, HUGE)
    assert len(rows(address, HUGE, walker)) == PTES
    try:
        madvise(address, HUGE, COLLAPSE)
    except OSError as error:
        pytest.skip(f"needs a kernel that collapses shared memory: {error}")
    read(address, HUGE)  # the tables are only taken away; a touch maps the huge page
    assert smaps(address, "ShmemPmdMapped") == HUGE
    found = rows(address, HUGE, walker)
    assert (len(found), found.iloc[0]["level"], found.iloc[0]["pfn"]) == (1, HUGE_LEVEL, pfn(address))


LEAVES = [(size, level) for level, size in sizes.by_level().items() if size > PAGE]


@pytest.fixture(params=LEAVES, ids=[units.size(size) for size, _ in LEAVES])
def reserved(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, str]]:
    """Pages of hugetlb, two if there are as many, else one: how many, their size, and the level of their entries."""
    size, level = request.param
    pool = Path(f"/sys/kernel/mm/hugepages/hugepages-{size >> 10}kB")
    if not pool.exists():
        pytest.skip(f"needs a kernel with hugetlb pages of {size:#x} bytes")
    number, free, kept = (pool / f"{name}_hugepages" for name in ("nr", "free", "resv"))
    before = int(number.read_text())
    number.write_text(str(before + 2))
    try:
        if not (pages := min(int(free.read_text()) - int(kept.read_text()), 2)):
            # Guests have one of 1 GiB since their boot: tests/vm/guest/test_hugetlb.py has each walker look at it.
            pytest.skip(f"needs unbroken memory for a hugetlb page of {size:#x} bytes; guests have it")
        yield pages, size, level
    finally:
        number.write_text(str(before))


def test_hugetlb_pages_are_leaves_of_their_level(walker: str, reserved: tuple[int, int, str], new_map: NewMap) -> None:
    pages, size, level = reserved
    address = new_map(pages * size, flags=PRIVATE | ANONYMOUS | hugetlb(size))
    places = [address + page * size for page in range(pages)]
    try:
        for place in places:
            write(place, 1)
        assert smaps(address, "KernelPageSize") == size
        found = rows(address, pages * size, walker)
        assert list(found["vaddr"]) == places
        assert set(found["size"]) == {size}
        assert set(found["level"]) == {level}
        assert list(found["pfn"]) == [*map(pfn, places)]
        middle = rows(address + size // 2, PAGE, walker)
        assert list(middle["vaddr"]) == [address]
    finally:
        munmap(address, pages * size)
