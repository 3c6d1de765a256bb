"""A difference between two processes says what each of them has, and nothing of earlier and later."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from conftest import RAW, forked, needs_root
from differences import ACCESSED, DIRTY, GIB, NX, RW, START, huge, made, page, pages, swap
from handmade import NOHUGEPAGE, PAGE, NewMap, write

import pte_magic
from pte_magic.dataframes.diff.words import APART, COLUMNS, WORDS

if TYPE_CHECKING:
    from pte_magic import PteFrame

TIME = re.compile(r"\b(no longer|new|became|made|moved|taken|given|unmapped|added|removed|changed|before|after)\b")


def of(frame: PteFrame, pid: int) -> PteFrame:
    found: PteFrame = frame.assign(pid=pid)
    return found


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (page(5), page(6), "other page frame"),
        (page(5), page(5, 0x67 & ~ACCESSED), "accessed only in the first"),
        (page(5, 0x67 & ~RW & ~DIRTY), page(5), "writable only in the second, dirty only in the second"),
        (page(5), page(5) & ~NX, "executable only in the second"),
        (page(5), 0, "present and none"),
        (swap(5), page(6), "swap and present"),
        (swap(5), swap(6), "other place in swap"),
    ],
)
def test_words(first: int, second: int, words: str) -> None:
    found = of(pages(first), 1).diff(of(pages(second), 2))
    assert found["change"].tolist() == [words]
    assert found.attrs["processes"] == ("pid 1", "pid 2")
    plural = words.replace("frame", "frames")
    assert repr(found).startswith("pid 1 and pid 2: 1 of 1 entry differs: 1 ")
    both = of(pages(first, first), 1).diff(of(pages(second, second), 2))
    assert repr(both).startswith("pid 1 and pid 2: 2 of 2 entries differ: ")
    assert "page frame" not in words or f": 2 {plural}" in repr(both)


def test_other_sizes_and_hosts() -> None:
    first, second = made((GIB, "pmd", [huge(512)])), made((GIB, "pte", [page(512 + at) for at in range(512)]))
    found = of(first, 1).diff(of(second, 1).assign(host="there"))
    assert set(found["change"]) == {"of another size"}
    assert repr(found).startswith(f"pid 1 of {first['host'][0]} and pid 1 of there: 512 of 512 entries differ")


def test_what_one_of_them_has_alone_and_nothing_different() -> None:
    first = pages(page(5), page(6))
    assert repr(of(first, 1).diff(of(first, 2))) == "pid 1 and pid 2: nothing differs"
    found = of(first, 1).diff(of(made((START + 4096, "pte", [page(6), page(7)])), 2))
    assert found["change"].tolist() == ["only in the first", "only in the second"]
    assert repr(found).splitlines()[0].endswith("nothing differs; 4 KiB only in the second; 4 KiB only in the first")


def test_the_words_say_nothing_of_time_and_have_no_comma() -> None:
    assert {word.column for word in APART} <= set(COLUMNS) == {word.column for word in WORDS}
    for word in APART:
        assert "," not in word.words
        assert not TIME.search(word.words.format(before="", after=""))


@needs_root
def test_a_child_that_wrote_differs_from_its_parent(new_map: NewMap) -> None:
    start = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(start, 4 * PAGE)
    with forked(lambda: write(start, PAGE, value=2)) as child:
        child.step()
        ours = pte_magic.walk(start, start + 4 * PAGE, walker=RAW)
        theirs = pte_magic.walk(start, start + 4 * PAGE, pid=child.pid, walker=RAW)
    found = ours.diff(theirs)
    change = found["change"].iloc[0].split(", ")
    assert {"other page frame", "writable only in the second"} <= set(change)
    assert found.attrs["processes"] == (f"pid {os.getpid()}", f"pid {child.pid}")
