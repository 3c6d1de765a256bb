"""Rows ascend, are disjoint and cover what was asked for, while tables, huge pages and regions come and go."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from conftest import needs_root
from entry_bits import bits
from handmade import (
    ANONYMOUS,
    DONTNEED,
    FIXED,
    GIB,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    NORESERVE,
    PAGE,
    PRIVATE,
    PTES,
    SHARED,
    NewMap,
    libc,
    madvise,
    munmap,
    write,
)
from hypothesis import given
from hypothesis import strategies as st
from serving import serving
from waiting import SECONDS

from pte_magic import walkers
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries, rows_before
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.walkers.overlapping_rows import disjoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serving import Helper

    from pte_magic.walkers.walker import Walker

WALKS, ROUNDS = 600, 100
"""Walks and rounds of a storm, of both at least so many."""
UPPER = sorted(1 << shift for shift in hardware.shifts().values())[2:]  # bytes that each entry above HUGE_LEVEL covers
BASE = hardware.user_limit() // 2
"""An address at which nothing is, far from all that is mapped."""
FAR = [size for size in UPPER if size <= BASE // 8] or [2 * HUGE]


def at(address: int, size: int, advice: int = NOHUGEPAGE) -> None:
    """Map memory there, and have a table for its first and last pages."""
    assert libc.mmap(address, size, 3, PRIVATE | ANONYMOUS | FIXED | NORESERVE, -1, 0) == address
    madvise(address, size, advice)
    write(address)
    write(address + size - PAGE)


def alone() -> None:
    """Memory that is alone in what an entry of each level serves: all tables go with it."""
    at(BASE, 2 * HUGE)
    munmap(BASE, 2 * HUGE)


def in_turn() -> None:
    """Neighbours of each size, of which one is there."""
    for size in FAR:
        for address in (BASE, BASE + size):
            at(address, 2 * HUGE)
            munmap(address, 2 * HUGE)


def huge_pages() -> None:
    """Huge pages that come where a table was, and the other way round."""
    at(BASE, 3 * HUGE, HUGEPAGE)
    write(BASE, 3 * HUGE)
    madvise(BASE + HUGE + PAGE, PAGE, DONTNEED)
    madvise(BASE, 3 * HUGE, DONTNEED)
    madvise(BASE, 3 * HUGE, NOHUGEPAGE)
    write(BASE, 3 * HUGE)
    madvise(BASE, 3 * HUGE, DONTNEED)


def regions() -> None:
    """Regions that end within what becomes one huge page, and others."""
    munmap(BASE, 3 * HUGE)
    at(BASE, HUGE + 5 * PAGE)
    at(BASE + HUGE + 9 * PAGE, HUGE)
    munmap(BASE, 3 * HUGE)
    at(BASE, 3 * HUGE, HUGEPAGE)
    munmap(BASE + HUGE, HUGE)


STORMS = (alone, in_turn, huge_pages, regions)
RANGES = (
    (BASE - HUGE, BASE + 3 * HUGE),
    (BASE - FAR[0], BASE + 3 * FAR[0]),
    (BASE + 5 * PAGE, BASE + FAR[0] + HUGE + 7 * PAGE),
    (BASE + HUGE, BASE + 2 * HUGE - PAGE),
    (BASE - FAR[-1], BASE + 2 * FAR[-1]),
)


class Stormy(NamedTuple):
    """A process in which a storm is."""

    space: AddressSpace
    rounds: Callable[[], int]


@contextmanager
def stormy(storm: Callable[[], object], new_map: NewMap) -> Iterator[Stormy]:
    """Fork a process that does this again and again, and counts."""
    counter = ctypes.c_uint64.from_address(new_map(PAGE, flags=SHARED | ANONYMOUS))
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            at(BASE + 3 * FAR[-1] - PAGE, PAGE)  # so a table of the top level is there all the time
            at(BASE + 3 * FAR[0], PAGE)
            while os.getppid() == parent:
                storm()
                counter.value += 1
        finally:
            os._exit(1)
    try:
        with AddressSpace(pid) as space:
            yield Stormy(space, lambda: counter.value)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def keeps_the_contract(found: Entries, start: int, end: int) -> None:
    """Fail unless rows ascend, do not overlap, and cover the range; the first and the last may cover more."""
    vaddr, size, level = found.vaddr, found.size, found.level
    if found.encoding != "pagemap":
        mask, value = bits().table
        table = (found.entry & np.uint64(mask) == value) & (level < LEVELS.index("pte"))
        assert (vaddr[1:] >= vaddr[:-1]).all()
        assert (vaddr[1:][table[:-1]] < (vaddr + size)[:-1][table[:-1]]).all()  # each before those below it
        assert not len(table) or not table[-1]
        vaddr, size, level = vaddr[~table], size[~table], level[~table]
        sizes = {LEVELS.index(name): 1 << shift for name, shift in hardware.shifts().items()}
        assert all((size[level == number] == bytes_).all() for number, bytes_ in sizes.items())
        assert (vaddr % size == 0).all()
    ends = vaddr + size
    wrong = np.flatnonzero(vaddr[1:] != ends[:-1])
    assert not len(wrong), [(hex(vaddr[i]), hex(size[i]), level[i]) for i in range(wrong[0], wrong[0] + 2)]
    assert vaddr[0] <= start < ends[0]
    assert vaddr[-1] < end <= ends[-1]


def look(raw: Walker, space: AddressSpace, start: int, end: int, *, tables: bool) -> None:
    keeps_the_contract(raw.walk(space, start, end, tables=tables), start, end)
    reached: list[int] = []
    for piece in raw.chunks(space, start, end, tables=tables):
        keeps_the_contract(piece, reached[-1] if reached else start, min(piece.end, end))
        assert not reached or piece.vaddr[0] == reached[-1]
        reached.append(piece.end)
    assert reached[-1] >= end


def look_through_a_storm(raw: Walker, storm: Callable[[], object], new_map: NewMap, walks: int) -> None:
    until = time.monotonic() + 2 * SECONDS  # when it is given up, on a machine that is stuck
    with stormy(storm, new_map) as there:
        for walked, (start, end) in enumerate(cycle(RANGES)):
            look(raw, there.space, start, end, tables=bool(walked // len(RANGES) % 2))
            if walked >= walks and there.rounds() >= ROUNDS:
                break
            assert time.monotonic() < until, (walked, there.rounds())


needs_memory = pytest.mark.skipif(hardware.user_limit() < 16 * GIB, reason="needs 64-bit addresses")


@needs_memory
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("storm", STORMS)
def test_rows_are_disjoint_and_whole_in_every_storm(walker: str, storm: Callable[[], object], new_map: NewMap) -> None:
    # Who reads /proc/PID/maps first waits for the storm at each walk.
    look_through_a_storm(walkers.get(walker), storm, new_map, walks=WALKS // 10 if walker == "pagemap" else WALKS)


@pytest.fixture(scope="module")
def sparing() -> Iterator[Helper]:
    """A helper whose answers are short, and end within tables."""
    with serving("--frames", "0", "--max-rows", "37") as found:
        yield found


@needs_root
@needs_memory
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("storm", STORMS)
def test_short_answers_are_disjoint_and_whole_together(
    sparing: Helper, storm: Callable[[], object], new_map: NewMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(sparing.path))
    asked = HelperWalker()
    try:
        look_through_a_storm(asked, storm, new_map, walks=WALKS // 10)
    finally:
        asked.close()


# What a walker in the kernel may give, without any kernel: steps, each of which finds an entry of some level.
SIZES = {LEVELS.index(level): 1 << shift for level, shift in hardware.shifts().items()}
DEPTHS = sorted(SIZES)


@st.composite
def steps(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int, int, int]]]:
    """Return where a walk begins and ends, and the runs of rows that it gives, by address, size, count and level."""
    base = 1 << 40 if hardware.user_limit() > 1 << 41 else 1 << 30
    origin = reached = base + draw(st.integers(0, 3 * PTES)) * PAGE
    end = origin + draw(st.integers(1, 40 * PTES)) * PAGE
    found = []
    while reached < end:
        level = draw(st.sampled_from(DEPTHS))
        size = SIZES[level]
        first = reached & -size
        most = min(-(-(end - first) // size), PTES - first // size % PTES)
        count = draw(st.integers(1, min(most, 2 * PTES)))
        if draw(st.booleans()):  # those on the way, as the walk began here or at the beginning of what they serve
            above = [upper for upper in DEPTHS if upper < level and reached in (origin, reached & -SIZES[upper])]
            found += [(reached & -SIZES[upper], SIZES[upper], 1, upper) for upper in above]
        found.append((first, size, count, level))
        reached = first + size * count
    return origin, end, found


def pushed(runs: list[tuple[int, int, int, int]]) -> Any:
    """Put them together as push() of walk.bpf.c does."""
    spans: list[tuple[int, int, int, int]] = []
    for vaddr, size, count, level in runs:
        if spans and spans[-1][3] == level and spans[-1][0] + size * spans[-1][2] == vaddr:
            spans[-1] = (spans[-1][0], size, spans[-1][2] + count, level)
        else:
            spans.append((vaddr, size, count, level))
    return np.array(spans, SPAN)


def ends_of(entries: Entries) -> tuple[Any, Any, Any]:
    """Return address, size and entry of the rows at which a walk ended: not followed by one of a lower level within."""
    vaddr, size, level = entries.vaddr, entries.size, entries.level
    above = np.zeros(len(entries), bool)
    above[:-1] = (level[1:] > level[:-1]) & (vaddr[1:] < (vaddr + size)[:-1])
    return vaddr[~above], size[~above], entries.entry[~above]


@given(steps(), st.data())
def test_whatever_steps_find_becomes_disjoint(
    given_steps: tuple[int, int, list[tuple[int, int, int, int]]], data: st.DataObject
) -> None:
    origin, end, runs = given_steps
    spans = pushed(runs)
    entry = np.arange(1, spans["count"].sum() + 1, dtype=np.uint64)
    raw = Entries(entry, spans, hardware.encoding(), "bpf")
    was = dict(zip(raw.entry.tolist(), zip(raw.vaddr.tolist(), raw.size.tolist(), strict=True), strict=True))
    told = origin if data.draw(st.booleans()) else None
    made = Entries(*disjoint(entry, spans, end, told), hardware.encoding(), "bpf")
    assert int(made.spans["count"].sum()) == len(made)
    vaddr, size, entries = ends_of(made)
    assert (vaddr[1:] == (vaddr + size)[:-1]).all()
    assert vaddr[0] == told if told else vaddr[0] <= origin
    assert vaddr[-1] < end <= vaddr[-1] + size[-1]
    for one, where in zip(entries.tolist(), zip(vaddr.tolist(), size.tolist(), strict=True), strict=True):
        assert one == 0 or was[one] == where
    assert (vaddr % size == 0).all()


@given(st.lists(st.integers(1, 5), min_size=1), st.integers(-3, 30))
def test_rows_before_an_address(counts: list[int], page: int) -> None:
    ends = np.cumsum(counts)
    spans = np.array([(at * PAGE, PAGE, n, 4) for at, n in zip(ends - counts, counts, strict=True)], SPAN)
    assert rows_before(spans, max(page, 0) * PAGE) == min(max(page, 0), sum(counts))
