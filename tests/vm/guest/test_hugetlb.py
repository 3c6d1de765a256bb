"""Pages of hugetlb of all sizes: a leaf, or several that the hardware may hold as one, whatever is done to them."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from agreement import agree, kpageflags, raw_walkers
from conftest import forked, walked
from handmade import (
    ANONYMOUS,
    GIB,
    HUGE,
    HUGE_LEVEL,
    HUGETLB,
    NONE,
    NORESERVE,
    PAGE,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    hugetlb,
    mprotect,
    munmap,
    pfn,
    read,
    smaps,
    write,
)
from pools import pool, sizes
from versions import release

from pte_magic.linux import hardware
from pte_magic.linux import sizes as page_sizes
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.text import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handmade import NewMap

KPF_HUGE = 1 << 17
MFD_HUGETLB = 4
# In KiB, by the format of entries: arch/arm64/mm/hugetlbpage.c, arch/x86/mm/hugetlbpage.c.
EXPECTED = {
    "x86_64": [2 << 10, 1 << 20],
    "x86_pae": [2 << 10],
    "x86_32": [4 << 10],
    "arm64_4k": [64, 2 << 10, 32 << 10, 1 << 20],
    "arm64_16k": [2 << 10, 32 << 10, 1 << 20],
    "arm64_64k": [2 << 10, 512 << 10, 16 << 20],
}


@pytest.fixture(params=sizes(), ids=units.size)
def size(request: pytest.FixtureRequest) -> Iterator[int]:
    """The size of a page that is free."""
    size: int = request.param
    with pool(size):
        yield size


@pytest.fixture
def address(size: int, new_map: NewMap) -> Iterator[int]:
    address = new_map(size, flags=PRIVATE | ANONYMOUS | hugetlb(size))
    yield address
    munmap(address, size)


def leaf(size: int) -> tuple[int, str]:
    """Return how much each entry maps that such a page consists of, and its level."""
    return max((each, level) for level, each in page_sizes.by_level().items() if each <= size)


def look(address: int, size: int, pid: int | None = None) -> Any:
    """Return the first row of a page, as all sources see its beginning and its end; all others are as it is."""
    each, level = leaf(size)
    first, last = agree(address, each, pid), agree(address + size - each, each, pid)
    assert len(first) == len(last) == 1
    with AddressSpace(pid) as space:
        found = walked(raw_walkers()[0], space, address, address + size)
    assert found["vaddr"].tolist() == list(range(address, address + size, each))
    assert set(found["level"]) == {level}
    assert set(found["size"]) == {each}
    assert found["pfn"].tolist() == list(range(int(found["pfn"][0]), int(found["pfn"][0]) + size // PAGE, each // PAGE))
    if "cont" in found.columns and set(found["state"]) == {"present"}:
        assert set(found["cont"]) == {size > each}
        assert set(found["mapped"]) == {size}
    assert found["pfn"].iloc[[0, -1]].tolist() == [int(first["pfn"][0]), int(last["pfn"][0])]
    return found.iloc[0]


def test_the_kernel_has_the_sizes_that_it_should_have() -> None:
    assert [size >> 10 for size in sizes()] == EXPECTED[hardware.encoding().removesuffix("_lpa2")]


def test_page_is_a_leaf_of_its_level_whatever_is_done_to_it(address: int, size: int) -> None:
    each, level = leaf(size)
    assert set(agree(address, each)["state"]) == {"none"}
    write(address, 1)
    row, head = look(address, size), pfn(address)
    assert (row["level"], row["vaddr"], row["size"], row["state"]) == (level, address, each, "present")
    assert row["pfn"] == head
    assert head % (size // PAGE) == 0
    assert row["rw"]
    assert kpageflags(head) & KPF_HUGE
    # Which of the two, the kernel sometimes does not know of 1 GiB: see below.
    used = smaps(address, "Private_Hugetlb") + smaps(address, "Shared_Hugetlb")
    assert smaps(address, "KernelPageSize") == used == size

    mprotect(address, size, NONE)
    found = walked(raw_walkers()[0], own(), address, address + size)
    if size > each == PAGE and release() < (7, 0) and found["present"].all():
        # Seen with 6.1: pte_mkcont() of arm64 makes such entries valid again, without a right for users.
        assert not found["user"].any()
        assert found["pfn"][0] == head
    else:
        row = look(address, size)
        assert (row["state"], row["level"], row["size"], row["pfn"]) == ("protnone", level, each, head)
    mprotect(address, size, READ | WRITE)

    if level == HUGE_LEVEL and size < GIB:
        # Not of 1 GiB, nor of 64 KiB: since about 6.12 fork() sometimes takes a table of such pages for a shared one,
        # and copies nothing (copy_hugetlb_page_range() looks at a pt_share_count that only tables of 2 MiB pages have).
        with forked() as child:
            ours, theirs = look(address, size), look(address, size, child.pid)
        assert ours["pfn"] == theirs["pfn"] == head
        assert not ours["rw"]
        assert not theirs["rw"]


@pytest.fixture
def _pool() -> Iterator[None]:
    with pool():
        yield


def above() -> str:
    """Return the level whose entries point to tables of pages of `HUGE` bytes."""
    return [*hardware.shifts()][-3]


def table_of(address: int, pid: int | None = None) -> int:
    """Return the frame of the table of such entries that serves an address."""
    with AddressSpace(pid) as space:
        found = walked(raw_walkers()[-1], space, address, address + HUGE, tables=True)
    return int(found["pfn"][found["level"] == above()].iloc[0])


@pytest.mark.skipif(hardware.machine() == "x86_32", reason="needs 64 bits: processes share such tables there only")
@pytest.mark.usefixtures("_pool")
def test_a_table_that_processes_share_is_taken_away_meanwhile(new_map: NewMap) -> None:
    """Truncating a file does that, without mmap_lock, to all who map it; the guest fails if the kernel complains."""
    fd = os.memfd_create("test", MFD_HUGETLB | hugetlb() & ~HUGETLB)
    region = 1 << hardware.shifts()[above()]
    os.ftruncate(fd, region)
    # Tables are shared of regions that fill them.
    address = new_map(region, flags=SHARED | NORESERVE | HUGETLB, fd=fd)
    stop = new_map(PAGE, flags=SHARED | ANONYMOUS)

    def truncate() -> int:
        done = 0
        while not read(stop):
            os.ftruncate(fd, 0)
            os.ftruncate(fd, region)
            write(address, 1)
            done += 1
        return done

    write(address, 1)
    with forked(lambda: write(address, 1), truncate) as child, ThreadPoolExecutor(1) as pool:
        child.step()
        assert table_of(address) == table_of(address, child.pid)
        truncating = pool.submit(child.step)
        try:
            with AddressSpace(child.pid) as theirs:
                until = time.monotonic() + 5
                while time.monotonic() < until:
                    for space in (own(), theirs):
                        found = walked(raw_walkers()[-1], space, address, address + region)
                        assert set(found["state"]) <= {"none", "present"}
                        # The table may go at any step: all that it served is then one empty entry, the last.
                        whole = found["size"] == region
                        assert list(found["vaddr"][whole]) in ([], [address])
                        assert set(found["state"][whole]) <= {"none"}
                        entries = found[~whole]
                        assert set(entries["size"]) <= {HUGE}
                        assert list(entries["vaddr"]) == [address + at * HUGE for at in range(len(entries))]
                        assert whole.iloc[-1] if whole.any() else len(entries) == region // HUGE
        finally:
            write(stop)
        assert truncating.result() > 10
    os.close(fd)
