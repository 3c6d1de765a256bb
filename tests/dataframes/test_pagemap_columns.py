"""The columns of pagemap are those of its words, whatever the walker, and missing where these are of another page."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
from conftest import forked
from handmade import (
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PM_FILE,
    PM_PRESENT,
    READ,
    SHARED,
    WRITE,
    NewMap,
    read,
    words,
    write,
)

import pte_magic
from pte_magic.dataframes import pagemap_columns
from pte_magic.formats.decode import Column
from pte_magic.formats.field import STATES
from pte_magic.linux import pagemap_scan
from pte_magic.linux.address_space import AddressSpace, own

EXCLUSIVE = 1 << 56


def in_memory(table: pte_magic.PteFrame) -> pte_magic.PteFrame:
    found: Any = table[table["state"] == "present"]
    return found  # type: ignore[no-any-return]


def test_they_are_bits_of_the_words(walker: str, new_map: NewMap) -> None:
    start = new_map(64 * PAGE, advice=NOHUGEPAGE)
    write(start, 20 * PAGE)
    write(start + 40 * PAGE, 2 * PAGE)  # after a gap that is not worth reading
    with forked(lambda: write(start, 5 * PAGE, value=2)) as child:
        child.step()
        table = in_memory(pte_magic.walk(start, start + 64 * PAGE, walker=walker))
        word = np.concatenate([words(int(address)) for address in table["vaddr"]])
    assert len(table) == 22
    assert table["mmap_exclusive"].tolist() == (word & np.uint64(EXCLUSIVE) != 0).tolist()
    assert table["mmap_exclusive"].sum() == 5
    assert table["file"].tolist() == (word & np.uint64(PM_FILE) != 0).tolist() == [False] * 22


def test_pages_of_files_are_told_apart(walker: str, new_map: NewMap) -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, 4 * PAGE)
    start = new_map(4 * PAGE, READ | WRITE, SHARED, fd)
    os.close(fd)
    write(start, 4 * PAGE)
    assert pte_magic.walk(start, start + 4 * PAGE, walker=walker)["file"].tolist() == [True] * 4


def test_the_page_of_zeros_has_a_kind(walker: str, new_map: NewMap) -> None:
    start = new_map(3 * PAGE, advice=NOHUGEPAGE)
    read(start, 2 * PAGE)
    write(start)
    table = pte_magic.walk(start, start + 3 * PAGE, walker=walker)
    kinds = [None if pd.isna(kind) else kind for kind in table["kind"]]
    if walker == "pagemap" and pagemap_scan.populated(own(), 0, PAGE) is None:
        assert kinds == [None] * 3
        assert table.attrs[pagemap_columns.ZEROS_UNKNOWN]
        return
    assert kinds == [None, "zero_page", None]
    assert pagemap_columns.ZEROS_UNKNOWN not in table.attrs


def test_a_huge_page_has_the_words_of_its_first_page(walker: str, new_map: NewMap) -> None:
    start = new_map(2 * HUGE, advice=HUGEPAGE)
    write(start, 2 * HUGE)
    table = in_memory(pte_magic.walk(start, start + 2 * HUGE, walker=walker))
    assert table["mmap_exclusive"].all()
    with forked(lambda: None) as child:
        child.step()
        table = in_memory(pte_magic.walk(start, start + 2 * HUGE, walker=walker))
    assert not table["mmap_exclusive"].fillna(value=True).any()


def test_many_pages_are_told_as_their_words_tell_them(raw_walker: str, new_map: NewMap) -> None:
    """Of many pages, only those words are read that the entries do not make certain."""
    count = 4 * pagemap_columns._MANY
    quarter = count // 4 * PAGE
    start = new_map(count * PAGE, advice=NOHUGEPAGE)
    write(start, 3 * quarter)
    fd = os.memfd_create("test")
    os.ftruncate(fd, 2 * quarter)
    of_file = new_map(2 * quarter, READ | WRITE, SHARED, fd)
    os.close(fd)
    write(of_file, 2 * quarter)
    with forked(lambda: write(of_file, 2 * quarter)) as child:
        child.step()
        write(start, quarter, value=2)
        read(start + 3 * quarter, quarter // 2)
        for at, size in ((start, count * PAGE), (of_file, 2 * quarter)):
            table = in_memory(pte_magic.walk(at, at + size, walker=raw_walker))
            word = words(at, size)
            word = word[word & np.uint64(PM_PRESENT) != 0]
            assert len(table) > pagemap_columns._MANY
            assert (table["mmap_exclusive"] == (word & np.uint64(EXCLUSIVE) != 0)).all()
            assert (table["file"] == (word & np.uint64(PM_FILE) != 0)).all()
            assert set(table["mmap_exclusive"]) == ({True, False} if at == start else {False})


def test_words_of_another_page_do_not_count(new_map: NewMap) -> None:
    start = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(start, 2 * PAGE)
    frames = words(start, 4 * PAGE) & np.uint64((1 << 55) - 1)
    frames[0] += np.uint64(1)  # as if it had been another page frame at the time of the walk
    state = np.full(4, STATES.index("present"), np.int8)  # and as if the last two had been there
    found = {"state": Column(state), "pfn": Column(frames)}
    where = np.array([[start + at * PAGE for at in range(4)], [PAGE] * 4], np.uint64)
    assert words(start + PAGE)[0] & np.uint64(PM_PRESENT)
    pagemap_columns.columns(own(), where, found)
    hidden = frames[0] <= 1  # to an ordinary user, all are alike
    expected = [not hidden, False, True, True]
    for name in ("mmap_exclusive", "file"):
        missing = found[name].missing
        assert missing is not None
        assert missing.tolist() == expected


def test_of_a_process_that_has_gone_nothing_is_said(new_map: NewMap) -> None:
    start = new_map(PAGE)
    write(start)
    with forked() as child:
        space = AddressSpace(child.pid)
    found = {"state": Column(np.array([STATES.index("present")], np.int8))}
    assert pagemap_columns.columns(space, np.array([[start], [PAGE]], np.uint64), found) == {}
    assert set(found) == {"state"}
    space.close()


def test_what_is_in_doubt_in_one_part_is_in_doubt_in_all(new_map: NewMap) -> None:
    start = new_map(2 * PAGE)
    write(start, 2 * PAGE)
    one, other = (pte_magic.walk(start + at, start + at + PAGE) for at in (0, PAGE))
    other.attrs[pagemap_columns.ZEROS_UNKNOWN] = True
    assert pd.concat([one, other]).attrs[pagemap_columns.ZEROS_UNKNOWN]
