"""Pages on the way from node to node: each entry seen is the old frame, a migration entry, or the new frame."""

from __future__ import annotations

import ctypes
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from agreement import agree
from conftest import forked, rows
from differences import told as in_words
from handmade import (
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PM_PFN,
    PM_PRESENT,
    PM_SWAP,
    READ,
    libc,
    madvise,
    mprotect,
    words,
    write,
)
from numa import bind, move
from waiting import SECONDS

from pte_magic import walkers
from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.linux.address_space import own
from pte_magic.walkers.entries import join

if TYPE_CHECKING:
    from handmade import NewMap
    from numpy.typing import NDArray

    from pte_magic.walkers.entries import Entries

DONTFORK = 10  # MADV_DONTFORK
WALKERS = ("bpf", "stap")
# The kernel empties an entry before it writes another one, and holds the page table's lock meanwhile. Who does not take
# that lock may find it empty; pagemap and the stap walker take it.
LOCKLESS = ("bpf",)
PAGES = 510
THIRD = PAGES // 3
KINDS = ["migration_write"] * THIRD + ["migration_read_exclusive"] * THIRD + ["migration_read"] * THIRD


class Round(NamedTuple):
    """What was seen while pages were moved once, by walker and by pagemap, and their frames before and after."""

    old: NDArray[np.uint64]
    new: NDArray[np.uint64]
    seen: dict[str, list[Entries]]
    told: list[NDArray[np.uint64]]


def vmsplice(pipe: int, address: int, size: int) -> None:
    """Put pages into a pipe as they are: vmsplice(2)."""
    assert libc.vmsplice(pipe, (ctypes.c_size_t * 2)(address, size), ctypes.c_ulong(1), 0) == size


def frames(address: int, size: int) -> NDArray[np.uint64]:
    told = words(address, size)
    assert (told & PM_PRESENT != 0).all()
    return told & np.uint64(PM_PFN)


def move_once(address: int, size: int, pages: int, node: int) -> Round:
    """Move pages while all walkers look at them again and again."""
    end, step = address + size, size // pages
    raw = {name: walkers.get(name) for name in WALKERS}
    old, told = frames(address, size), []
    seen: dict[str, list[Entries]] = {name: [] for name in WALKERS}
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(move, address, pages, node, step)
        while not moving.done():
            for name, walker in raw.items():
                seen[name].append(walker.walk(own(), address, end))
            told.append(np.frombuffer(os.pread(own().fd, size // PAGE * 8, address // PAGE * 8), np.uint64))
        assert set(moving.result()) == {node}
    return Round(old, frames(address, size), seen, told)


def check_words(one: Round) -> None:
    """Fail if pagemap itself said anything else of a page than what may be."""
    types = [number for number, (state, _) in enumerate(kernel.running().swap.types) if state == "migration"]
    for told in one.told:
        present, swap = told & np.uint64(PM_PRESENT) != 0, told & np.uint64(PM_SWAP) != 0
        assert (present | swap).all()
        place = told & np.uint64(PM_PFN)
        assert ((place == one.old) | (place == one.new))[present].all()
        assert (place >> np.uint64(5) == one.old)[swap].all()
        assert np.isin(place & np.uint64(31), types)[swap].all()


def test_small_pages_that_are_moved_are_old_moving_or_new(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=NOHUGEPAGE)
    size = PAGES * PAGE
    bind(address, size, 0)
    write(address, size)
    mprotect(address + THIRD * PAGE, THIRD * PAGE, READ)
    madvise(address, 2 * THIRD * PAGE, DONTFORK)  # the last third is shared with a child
    with forked():
        move_to_and_fro(address, size, KINDS)
        agree(address, size)


def test_words_of_pages_that_are_moved(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=NOHUGEPAGE)
    bind(address, HUGE, 0)
    write(address, HUGE)
    node, until = 1, time.monotonic() + SECONDS
    while time.monotonic() < until:
        before = rows(address, HUGE)
        one = move_once(address, HUGE, HUGE // PAGE, node)
        after = rows(address, HUGE)
        for entries in one.seen["bpf"]:
            between = pte_frame.build(entries, kernel.running(), pid=own().pid)
            moving = set(between.loc[between["state"] == "migration", "vaddr"])
            if moving:
                away, back = in_words(before.diff(between)), in_words(between.diff(after))
                assert {at for at, words in away.items() if "being moved" in words} == moving
                assert {at for at, words in back.items() if "moved" in words} == moving
                assert all("new page frame" in back[at] for at in moving)
                return
        node = 1 - node
    pytest.fail("no page was seen on its way")


def test_huge_page_that_is_moved_is_old_moving_or_new(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    bind(address, HUGE, 0)
    write(address, HUGE)
    move_to_and_fro(address, HUGE, ["migration_write"])
    assert list(agree(address, HUGE)["level"]) == [HUGE_LEVEL]


@pytest.mark.parametrize("name", [*WALKERS, "pagemap"])
def test_page_that_somebody_uses_is_moving_for_a_moment_and_stays(new_map: NewMap, name: str) -> None:
    address = new_map(HUGE, advice=NOHUGEPAGE)
    size = 8 * PAGE
    bind(address, size, 0)
    write(address, size)
    was, walker = frames(address, size), walkers.get(name)
    receiver, sender = os.pipe()
    until, moving, stop = time.monotonic() + SECONDS, 0, False

    def try_to_move() -> None:
        while not stop:
            assert (move(address, size // PAGE, 1) != 1).all()

    with os.fdopen(receiver, "rb"), os.fdopen(sender, "wb"), ThreadPoolExecutor(1) as pool:
        vmsplice(sender, address, size)  # the pipe refers to the pages, so none can be moved
        trying = pool.submit(try_to_move)
        try:
            while moving < 5 and time.monotonic() < until and not trying.done():
                found = walker.walk(own(), address, address + size)
                table = pte_frame.build(found, kernel.running(), pid=own().pid)
                if name not in LOCKLESS or not (table["state"] == "none").any():
                    assert set(table["state"]) <= {"present", "migration"}
                    assert (table["pfn"] == was).all()
                    moving += int((table["state"] == "migration").any())
        finally:
            stop = True
        trying.result()
        assert (frames(address, size) == was).all()
    assert moving, "no page was seen on its way"


def move_to_and_fro(address: int, size: int, kinds: list[str]) -> None:
    """Move pages until every walker has seen some on their way; fail if any saw what may not be."""
    moving, empty, node = dict.fromkeys(WALKERS, 0), dict.fromkeys(WALKERS, 0), 1
    until = time.monotonic() + SECONDS
    while node == 0 or (time.monotonic() < until and min(moving.values()) < 5):
        one = move_once(address, size, len(kinds), node)
        check_words(one)
        assert (one.old != one.new).all()
        for name, found in one.seen.items():
            if found:
                is_moving, is_empty = look(found, one, kinds)
                moving[name] += is_moving
                empty[name] += is_empty
        node = 1 - node
    assert min(moving.values()) > 0, "nothing was seen on its way"
    assert not any(empty[name] for name in WALKERS if name not in LOCKLESS)


def look(found: list[Entries], one: Round, kinds: list[str]) -> tuple[int, int]:
    """Fail if an entry is none of what it may be; return how many were of migration, and how many were empty."""
    assert {len(entries) for entries in found} == {len(kinds)}
    table = pte_frame.build(join(found), kernel.running(), pid=own().pid)
    assert table["size"].nunique() == 1
    state, pfn = table["state"].to_numpy(), table["pfn"].to_numpy(np.uint64, na_value=0)
    old, new = (np.tile(frames[:: len(frames) // len(kinds)], len(found)) for frames in (one.old, one.new))
    moving, empty = state == "migration", state == "none"
    assert ((state == "present") | moving | empty).all()
    assert ((pfn == old) | (pfn == new))[state == "present"].all()
    assert (pfn == old)[moving].all()
    assert (table["kind"].to_numpy() == np.tile(kinds, len(found)))[moving].all()
    return int(moving.sum()), int(empty.sum())
