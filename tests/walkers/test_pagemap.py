"""What only the pagemap walker does: the floor without privileges, and the kernels without PAGEMAP_SCAN."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import NOBODY, by_page, needs_root, python, walked
from handmade import HUGE, HUGEPAGE, NOHUGEPAGE, PAGE, PM_PRESENT, PTES, NewMap, madvise, munmap, smaps, words, write

from pte_magic.linux import pagemap_scan
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.walkers import pagemap

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 4 * HUGE


def mixed(new_map: NewMap) -> int:
    """Map a huge page, untouched pages, scattered pages, a hole."""
    address = new_map(SIZE, advice=HUGEPAGE)
    write(address, HUGE)
    madvise(address + HUGE, SIZE - HUGE, NOHUGEPAGE)
    for page in (PTES, PTES + 1, PTES + 188, 2 * PTES + 176, 4 * PTES - 1):
        write(address + page * PAGE)
    munmap(address + (2 * PTES + 276) * PAGE, 10 * PAGE)
    return address


def test_entries_are_the_words_of_pagemap(new_map: NewMap) -> None:
    address = mixed(new_map)
    found = pagemap.PagemapWalker().walk(own(), address, address + SIZE)
    told = words(address, SIZE)
    at = (found.vaddr.astype(np.int64) - address) // PAGE
    assert (found.entry == told[at]).all()
    assert found.encoding == "pagemap"


def test_unknown_bits_are_missing(new_map: NewMap) -> None:
    address = mixed(new_map)
    found = walked("pagemap", own(), address, address + SIZE)
    for name in {"entry", "rw", "user", "accessed", "dirty", "global", "special", "nx", "cache", "pkey"} & {*found}:
        assert found[name].isna().all(), name
    there = found[found["state"] == "present"]
    for name in ("present", "file", "mmap_exclusive", "uffd_wp"):
        assert there[name].notna().all(), name


def test_pages_mapped_only_here_are_exclusive(new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    assert walked("pagemap", own(), address, address + PAGE)["mmap_exclusive"].all()
    assert words(address)[0] >> 56 & 1
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), 19)
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        assert not walked("pagemap", own(), address, address + PAGE)["mmap_exclusive"].any()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_scan_finds_what_smaps_calls_huge(new_map: NewMap) -> None:
    address = mixed(new_map)
    scanned = pagemap_scan.populated(own(), address, address + SIZE)
    if scanned is None:
        pytest.skip("needs a kernel with PAGEMAP_SCAN (6.7)")
    runs, reached = scanned
    assert reached == address + SIZE
    huge = runs[runs["categories"] & pagemap_scan.PAGE_IS_HUGE != 0]
    assert int((huge["end"] - huge["start"]).sum()) == smaps(address, "AnonHugePages") == HUGE
    pages = np.zeros(SIZE // PAGE, np.bool_)
    for start, end, categories in runs.tolist():
        assert categories & pagemap_scan.PAGE_IS_PRESENT
        pages[(start - address) // PAGE : (end - address) // PAGE] = True
    assert (pages == (words(address, SIZE) & PM_PRESENT != 0)).all()


def test_scan_goes_on_where_its_buffer_was_full(new_map: NewMap) -> None:
    size = 20_000 * PAGE
    address = new_map(size, advice=NOHUGEPAGE)
    for page in range(0, 20_000, 2):
        write(address + page * PAGE)
    found = walked("pagemap", own(), address, address + size)
    assert len(found) == 20_000
    assert list(found["state"][:4]) == ["present", "none"] * 2
    assert (found["state"] == "present").sum() == 10_000


def test_without_scan_pages_are_the_same_at_an_unknown_level(new_map: NewMap, monkeypatch: pytest.MonkeyPatch) -> None:
    address = mixed(new_map)
    told = words(address, SIZE)
    nothing: Callable[[AddressSpace, int, int], None] = lambda _space, _start, _end: None  # noqa: E731
    monkeypatch.setattr(pagemap_scan, "populated", nothing)  # as on a kernel before 6.7
    found = walked("pagemap", own(), address, address + SIZE)
    assert found["level"].isna().all()
    assert (found["size"][found["state"] == "present"] == PAGE).all()
    pages = by_page(found, address, address + SIZE)
    assert ((pages["state"] == "present") == (told & PM_PRESENT != 0)).all()
    assert int(found["vaddr"].iloc[-1] + found["size"].iloc[-1]) == address + SIZE


@needs_root
def test_nobody_sees_presence_but_no_frames() -> None:
    code = """
import json, mmap, os
import numpy as np
from pte_magic import walk
page = mmap.PAGESIZE
memory = np.zeros(64 * page, np.uint8)
at = (memory.ctypes.data + page - 1) & -page
memory[at - memory.ctypes.data :: page][:10] = 1
fd = os.open("/proc/self/pagemap", os.O_RDONLY)
told = [int.from_bytes(os.pread(fd, 8, (at // page + i) * 8), "little") for i in range(60)]
frame = walk(at, at + 60 * page)
states = []
for size, state in zip(frame["size"], frame["state"]):
    states += [state] * (int(size) // page)
print(json.dumps([told, states, list(frame["walker"].unique()), bool(frame["pfn"].isna().all())]))
"""
    told, states, names, hidden = json.loads(python(code, user=NOBODY))
    assert names == ["pagemap"]
    assert hidden
    assert [bool(word & PM_PRESENT) for word in told] == [state == "present" for state in states]
    assert states.count("present") >= 10
