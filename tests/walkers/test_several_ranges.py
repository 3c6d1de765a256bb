"""Entries of several ranges are read once each, whatever lies between the ranges, or around several of them."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import lacking
from handmade import HUGE, PAGE, PTES, write
from handmade import HUGEPAGE as WANT_HUGE

import pte_magic
from pte_magic import walkers
from pte_magic.linux.address_space import own
from pte_magic.walkers.several_ranges import each_once

if TYPE_CHECKING:
    from handmade import NewMap

    from pte_magic.walkers.entries import Entries
    from pte_magic.walkers.walker import Walker

Ranges = list[tuple[int, int]]


def read(walker: Walker, ranges: Ranges, *, tables: bool = False) -> list[tuple[int, int, int, int]]:
    """Return address, size, level and entry of each."""
    found = each_once(ranges, lambda start, end: [walker.walk(own(), start, end, tables=tables)])
    return [row for part in found for row in rows(part)]


def rows(found: Entries) -> list[tuple[int, int, int, int]]:
    return list(zip(*(column.tolist() for column in (found.vaddr, found.size, found.level, found.entry)), strict=True))


def one_by_one(walker: Walker, ranges: Ranges, *, tables: bool = False) -> list[tuple[int, int, int, int]]:
    """Return the same of one walk a range, each row the first time only."""
    every = [row for start, end in ranges for row in rows(walker.walk(own(), start, end, tables=tables))]
    return list(dict.fromkeys(every))


@pytest.mark.parametrize("step", [2, 3, 2 * PTES, 600])
def test_ranges_near_and_far_have_the_entries_of_each(walker: str, new_map: NewMap, step: int) -> None:
    start = new_map(4 * HUGE)
    for page in range(0, 4 * PTES, 5):
        write(start + page * PAGE)
    ranges = [(start + page * PAGE, start + (page + 1) * PAGE) for page in range(0, 4 * PTES, step)]
    before = one_by_one(walkers.get(walker), ranges)
    found = read(walkers.get(walker), ranges)
    after = one_by_one(walkers.get(walker), ranges)
    at_rest = {row for row in {*before} & {*after} if row[3]}  # what is empty may be one with more
    assert at_rest <= {*found}
    assert {row[0] for row in found if row[3]} == {row[0] for row in before if row[3]}
    assert [row[0] for row in found] == sorted({row[0] for row in found})
    covered = {page for vaddr, size, *_ in found for page in range(vaddr, min(vaddr + size, start + 4 * HUGE), PAGE)}
    assert covered >= {first for first, _ in ranges}


def test_tables_above_several_ranges_are_one_row_each(raw_walker: str, new_map: NewMap) -> None:
    start = new_map(4 * HUGE)
    for page in (0, 3, 2 * PTES + 1, 3 * PTES):
        write(start + page * PAGE)
    ranges = [(start + page * PAGE, start + (page + 1) * PAGE) for page in (0, 3, 2 * PTES + 1, 3 * PTES)]
    before = one_by_one(walkers.get(raw_walker), ranges, tables=True)
    found = read(walkers.get(raw_walker), ranges, tables=True)
    after = one_by_one(walkers.get(raw_walker), ranges, tables=True)
    assert {*before} & {*after} <= {*found}  # but for those that the kernel has changed meanwhile
    assert [row[:3] for row in found] == list(dict.fromkeys(row[:3] for row in before))
    assert len({row[:3] for row in found}) == len(found)


def test_a_huge_page_in_which_several_arrays_lie_is_one_row(new_map: NewMap) -> None:
    start = new_map(2 * HUGE, advice=WANT_HUGE)
    write(start)
    if len(pte_magic.walk(start, start + HUGE)) != 1:
        lacking("a transparent huge page: see /sys/kernel/mm/transparent_hugepage")
    buffer: Any = (ctypes.c_uint8 * HUGE).from_address(start)
    parts = [np.frombuffer(buffer, np.uint8, 3 * PAGE, offset) for offset in (0, HUGE // 2, HUGE - 5 * PAGE)]

    class Parts:
        def __init__(self) -> None:
            self.parts = parts

    with pytest.warns(UserWarning, match="^of the Parts: parts$"):
        found = pte_magic.walk(Parts())
    assert (found["vaddr"].tolist(), found["size"].tolist()) == ([start], [HUGE])
    assert found.summary()["bytes"].tolist() == [HUGE]
    with pytest.warns(UserWarning, match="^of the Parts: parts$"):
        assert [len(part) for part in pte_magic.stream(Parts())] == [1]


def test_a_column_of_a_matrix_is_its_pages_only() -> None:
    matrix = np.zeros((300, 4 * PAGE), np.uint8)
    matrix[::2, 7] = 1
    found = pte_magic.walk(matrix[:, 7])
    pages = {matrix.ctypes.data + 7 + row * 4 * PAGE & -PAGE for row in range(300)}
    smaller = found[found["size"] == PAGE]
    assert set(smaller["vaddr"]) <= pages
    assert found["vaddr"].is_unique
    together: Any = np.concatenate([part["vaddr"] for part in pte_magic.stream(matrix[:, 7], rows=7)])
    assert together.tolist() == found["vaddr"].tolist()
