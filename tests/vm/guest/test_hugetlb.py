"""Pages of hugetlb, 2 MiB and 1 GiB: leaves of their level, whatever is done to them."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from agreement import agree, kpageflags
from conftest import (
    ANONYMOUS,
    GIB,
    HUGE,
    HUGETLB,
    NONE,
    NORESERVE,
    PAGE,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    forked,
    mprotect,
    munmap,
    pfn,
    read,
    smaps,
    walked,
    write,
)

from pte_magic.space import AddressSpace, own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import NewMap

KPF_HUGE = 1 << 17
MFD_HUGETLB = 4
LEVEL = {HUGE: "pmd", GIB: "pud"}


@pytest.fixture(params=[HUGE, GIB], ids=["2MiB", "1GiB"])
def size(request: pytest.FixtureRequest) -> Iterator[int]:
    """The size of a page that is free. One of 1 GiB has to be kept since the boot: hugepagesz=1G hugepages=1."""
    size: int = request.param
    pool = Path(f"/sys/kernel/mm/hugepages/hugepages-{size >> 10}kB")
    before = (pool / "nr_hugepages").read_text(encoding="ascii")
    if size == HUGE:
        (pool / "nr_hugepages").write_text(str(int(before) + 2), encoding="ascii")
    assert int((pool / "free_hugepages").read_text(encoding="ascii"))
    yield size
    (pool / "nr_hugepages").write_text(before, encoding="ascii")


@pytest.fixture
def address(size: int, new_map: NewMap) -> Iterator[int]:
    flags = PRIVATE | ANONYMOUS | HUGETLB | size.bit_length() - 1 << 26
    address = new_map(size, flags=flags)
    yield address
    munmap(address, size)


def look(address: int, size: int, pid: int | None = None) -> Any:
    """Return the one row of a page, as all sources see its beginning and its end."""
    first, last = agree(address, HUGE, pid), agree(address + size - HUGE, HUGE, pid)
    assert len(first) == len(last) == 1
    assert first.iloc[0].equals(last.iloc[0])
    return first.iloc[0]


def test_page_is_a_leaf_of_its_level_whatever_is_done_to_it(address: int, size: int) -> None:
    assert set(agree(address, HUGE)["state"]) == {"none"}
    write(address, 1)
    row, head = look(address, size), pfn(address)
    assert (row["level"], row["vaddr"], row["size"], row["state"]) == (LEVEL[size], address, size, "present")
    assert row["pfn"] == head
    assert head % (size >> 12) == 0
    assert row["rw"]
    assert kpageflags(head) & KPF_HUGE
    # Which of the two, the kernel sometimes does not know of 1 GiB: see below.
    used = smaps(address, "Private_Hugetlb") + smaps(address, "Shared_Hugetlb")
    assert smaps(address, "KernelPageSize") == used == size

    mprotect(address, size, NONE)
    row = look(address, size)
    assert (row["state"], row["level"], row["size"], row["pfn"]) == ("protnone", LEVEL[size], size, head)
    mprotect(address, size, READ | WRITE)

    if size == HUGE:
        # Not of 1 GiB: since about 6.12 fork() sometimes takes a table of such pages for a shared one, and copies
        # nothing (copy_hugetlb_page_range() looks at a pt_share_count that only tables of 2 MiB pages have).
        with forked() as child:
            ours, theirs = look(address, size), look(address, size, child.pid)
        assert ours["pfn"] == theirs["pfn"] == head
        assert not ours["rw"]
        assert not theirs["rw"]


def pud(address: int, pid: int | None = None) -> int:
    """Return the frame of the table of 2 MiB entries that serves an address."""
    with AddressSpace(pid) as space:
        found = walked("stap", space, address, address + HUGE, tables=True)
    return int(found["pfn"][found["level"] == "pud"].iloc[0])


def test_a_table_that_processes_share_is_taken_away_meanwhile(new_map: NewMap) -> None:
    """Truncating a file does that, without mmap_lock, to all who map it; the guest fails if the kernel complains."""
    fd = os.memfd_create("test", MFD_HUGETLB | 21 << 26)
    os.ftruncate(fd, GIB)
    # Tables are shared of regions that fill them.
    address = new_map(GIB, flags=SHARED | NORESERVE | HUGETLB, fd=fd)
    stop = new_map(PAGE, flags=SHARED | ANONYMOUS)

    def truncate() -> int:
        done = 0
        while not read(stop):
            os.ftruncate(fd, 0)
            os.ftruncate(fd, GIB)
            write(address, 1)
            done += 1
        return done

    write(address, 1)
    with forked(lambda: write(address, 1), truncate) as child, ThreadPoolExecutor(1) as pool:
        child.step()
        assert pud(address) == pud(address, child.pid)
        truncating = pool.submit(child.step)
        try:
            with AddressSpace(child.pid) as theirs:
                until = time.monotonic() + 5
                while time.monotonic() < until:
                    for space in (own(), theirs):
                        found = walked("stap", space, address, address + GIB)
                        assert set(found["state"]) <= {"none", "present"}
                        # The table may go at any step: all that it served is then one empty entry, the last.
                        whole = found["size"] == GIB
                        assert list(found["vaddr"][whole]) in ([], [address])
                        assert set(found["state"][whole]) <= {"none"}
                        entries = found[~whole]
                        assert set(entries["size"]) <= {HUGE}
                        assert list(entries["vaddr"]) == [address + at * HUGE for at in range(len(entries))]
                        assert whole.iloc[-1] if whole.any() else len(entries) == GIB // HUGE
        finally:
            write(stop)
        assert truncating.result() > 10
    os.close(fd)
