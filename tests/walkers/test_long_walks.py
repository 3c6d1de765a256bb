"""Walks of more than the kernel's side returns at once: whole address spaces, and 262,144 small pages."""

from __future__ import annotations

import itertools
import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from comparing import ACCESSED, assert_equal, unchanged
from conftest import by_page, needs_root, walked
from entry_bits import bits
from handmade import ANONYMOUS, HUGE, NOHUGEPAGE, NORESERVE, PAGE, PM_PFN, PRIVATE, words

from pte_magic import walkers
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.bpf.walker import BpfWalker
from pte_magic.walkers.entries import Entries, join

KPF_PGTABLE = 1 << 26
MANY = PAGE << 18  # bytes: 1 GiB of pages of 4 KiB
BEFORE, AFTER = (3 * MANY, 2 * MANY) if sys.maxsize > 1 << 32 else (MANY // 4, MANY // 4)
"""Untouched before and after these pages; a 32-bit process cannot map more than 2 GiB at once."""


def test_all_is_every_user_address_once(walker: str) -> None:
    found = walkers.get(walker).walk(own(), 0, hardware.user_limit())
    spans = found.spans
    assert spans["vaddr"][0] == 0
    assert (spans["vaddr"][1:] == (spans["vaddr"] + spans["size"] * spans["count"])[:-1]).all()
    assert spans["vaddr"][-1] + spans["size"][-1] * spans["count"][-1] == hardware.user_limit()


@pytest.fixture(scope="module")
def many() -> mmap.mmap:
    """Small pages, twice what the eBPF program returns at once, between much that is untouched."""
    memory = mmap.mmap(-1, BEFORE + MANY + AFTER, PRIVATE | ANONYMOUS | NORESERVE)
    memory.madvise(NOHUGEPAGE)
    np.frombuffer(memory, np.uint8)[BEFORE : BEFORE + MANY : PAGE] = 1
    return memory


def _place(memory: mmap.mmap) -> tuple[int, int]:
    start = np.frombuffer(memory, np.uint8).ctypes.data + BEFORE
    return start, start + MANY


def test_a_walk_of_many_chunks_finds_every_page(walker: str, many: mmap.mmap) -> None:
    start, end = _place(many)
    found = walkers.get(walker).walk(own(), start, end)
    assert len(found) == MANY // PAGE
    assert (found.vaddr == np.arange(start, end, PAGE, dtype=np.uint64)).all()
    if os.geteuid() == 0:
        frames = by_page(walked(walker, own(), start, end), start, end)["pfn"]
        assert (frames == (words(start, MANY) & np.uint64(PM_PFN)).astype(np.int64)).all()


@needs_root
@pytest.mark.parametrize(
    "part", [(0, MANY), (5 * PAGE, MANY - 9 * PAGE), (77 * PAGE, 78 * PAGE), (-BEFORE, MANY + AFTER // 2)]
)
def test_tables_come_before_what_they_cover_and_change_nothing_else(many: mmap.mmap, part: tuple[int, int]) -> None:
    start, end = _place(many)[0] + part[0], _place(many)[0] + part[1]
    bpf = walkers.get("bpf")
    plain, full = bpf.walk(own(), start, end), bpf.walk(own(), start, end, tables=True)
    mask, value = bits().table
    table = (full.level < LEVELS.index("pte")) & (full.entry & np.uint64(mask) == value)
    for one, other in (
        (plain.entry | ACCESSED, full.entry | ACCESSED),
        (plain.vaddr, full.vaddr),
        (plain.size, full.size),
        (plain.level, full.level),
    ):
        assert (one == other[~table]).all()
    at = np.flatnonzero(table)
    assert at.size
    below = full.level[at + 1].astype(int) - full.level[at]
    used = [LEVELS.index(level) for level in hardware.shifts()]
    assert set(below) <= {lower - upper for upper, lower in itertools.pairwise(used)}
    assert (full.vaddr[at + 1] - full.vaddr[at] < full.size[at]).all()
    assert (full.vaddr[1:] >= full.vaddr[:-1]).all()
    for level in range(LEVELS.index("pte")):
        mine = at[full.level[at] == level]
        if not mine.size:
            continue
        size = full.size[mine[0]]
        assert (full.vaddr[mine] % size == 0).all()
        assert len(np.unique(full.vaddr[mine])) == len(mine)
        covered = full.vaddr[full.level > level] // size
        assert set(np.unique(covered)) == set(full.vaddr[mine] // size)


@needs_root
def test_tables_are_page_tables_in_kpageflags(many: mmap.mmap) -> None:
    start, end = _place(many)
    found = walked("bpf", own(), start, end, tables=True)
    tables = found[found["state"] == "table"]
    assert (tables["level"] == "pmd").sum() in (MANY // HUGE, MANY // HUGE + 1)
    with Path("/proc/kpageflags").open("rb", buffering=0) as file:
        for frame in tables["pfn"]:
            assert int.from_bytes(os.pread(file.fileno(), 8, int(frame) * 8), "little") & KPF_PGTABLE


@pytest.mark.parametrize("tables", [False, True])
def test_chunks_are_the_walk_in_pieces(walker: str, many: mmap.mmap, *, tables: bool) -> None:
    start, end = _place(many)
    asked = walkers.get(walker)

    def look() -> list[Entries]:
        pieces = []
        for piece in asked.chunks(own(), start, end, tables=tables):
            pieces.append(piece)
            assert len(piece) <= 1 << 18
            assert len(asked.walk(own(), start, start + PAGE)) == 1  # others may walk meanwhile, this thread, too
        return pieces

    whole, pieces = unchanged(lambda: asked.walk(own(), start, end, tables=tables), look)
    assert len(pieces) > 1
    assert_equal(join(pieces), whole)


def test_chunks_of_walks_that_take_turns_are_those_of_each(walker: str, many: mmap.mmap) -> None:
    start, end = _place(many)
    asked, within = walkers.get(walker), (start + 77 * PAGE, end - 5 * PAGE)
    with AddressSpace(os.getpid()) as same:
        walks = [asked.chunks(own(), start, end), asked.chunks(same, *within), asked.chunks(own(), *within)]
        found: list[list[Entries]] = [[], [], []]
        for turn in itertools.zip_longest(*walks):
            for i, piece in enumerate(turn):
                found[i] += [piece] if piece else []
        assert min(len(pieces) for pieces in found) > 1
        for pieces, part in zip(found, ((start, end), within, within), strict=True):
            assert_equal(join(pieces), asked.walk(own(), *part))


@needs_root
@pytest.mark.parametrize("tables", [False, True])
def test_views_are_the_walk_in_pieces(many: mmap.mmap, *, tables: bool) -> None:
    start, end = _place(many)
    bpf = walkers.get("bpf")
    assert isinstance(bpf, BpfWalker)

    def look() -> list[Entries]:
        views = bpf.views(own(), start, end, tables=tables)
        return [Entries(view.entry.copy(), view.spans.copy(), view.encoding, view.walker) for view in views]

    whole, copied = unchanged(lambda: bpf.walk(own(), start, end, tables=tables), look)
    assert len(copied) > 1
    assert_equal(join(copied), whole)
