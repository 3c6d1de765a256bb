"""The first line of a frame says what was done to the memory on purpose, and what smaps says of it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from conftest import forked
from differences import GIB, GUARD, MIB2, MIGRATION_TYPE, START, huge, made, page, protnone, swap
from handmade import (
    ANONYMOUS,
    DONTNEED,
    HUGE,
    HUGE_WORDS,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PAGE_WORDS,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    NewMap,
    hugetlb,
    madvise,
    read,
    smaps,
    write,
)

import pte_magic
from pte_magic.linux import pagemap_scan
from pte_magic.linux.address_space import own
from pte_magic.text.units import share, size
from pte_magic.views import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COW = "shared with other processes (copy-on-write)"
SMALL, LARGE = f"all on {PAGE_WORDS} pages", f"all on {HUGE_WORDS} pages"


def line(start: int, length: int, walker: str, pid: int | None = None) -> str:
    """Return the only line about a range, which text and HTML show, too."""
    frame = pte_magic.walk(start, start + length, walker=walker, pid=pid)
    (found,) = first_line.lines(frame)
    assert repr(frame).splitlines()[0] == found.words
    assert found.words in str(frame._repr_html_())
    return found.words


def clauses(start: int, length: int, walker: str, pid: int | None = None) -> list[str]:
    """Return the clauses of the line, without the bytes before them."""
    head, _, rest = line(start, length, walker, pid).partition(": ")
    assert head == size(length)
    return rest.split("; ")


def can_scan() -> bool:
    """Tell whether the kernel shows everybody which pages are huge, and which are the page of zeros (6.7)."""
    return pagemap_scan.populated(own(), 0, PAGE) is not None


@pytest.fixture
def seeing(walker: str) -> str:
    """A walker to which huge pages and the page of zeros are visible."""
    if walker == "pagemap" and not can_scan():
        pytest.skip("needs PAGEMAP_SCAN (6.7): without it, pagemap does not show the sizes of pages")
    return walker


def test_untouched(walker: str, new_map: NewMap) -> None:
    start = new_map(4 * HUGE)
    assert line(start, 4 * HUGE, walker) == f"{size(4 * HUGE)}: nothing there: untouched, or given back"
    assert smaps(start, "Rss") == 0


def test_the_page_of_zeros(seeing: str, new_map: NewMap) -> None:
    start = new_map(4 * PAGE, advice=NOHUGEPAGE)
    read(start, 2 * PAGE)
    words = f"{size(2 * PAGE)}: all of it is the page of zeros: read, and never written"
    assert line(start, 2 * PAGE, seeing) == words
    write(start)
    assert smaps(start, "Rss") == PAGE  # which leaves the page of zeros out
    said, pages, *rest = clauses(start, 4 * PAGE, seeing)
    of_zeros, empty = f"{PAGE_WORDS} of the page of zeros", f"{size(2 * PAGE)} without pages"
    assert re.sub(r" \(.*?\)", "", said) == f"{PAGE_WORDS} resident, {of_zeros}, {empty}"
    assert pages.startswith(SMALL)
    assert rest == ["nothing swapped", "shared with nobody"]


def test_the_huge_page_of_zeros_is_not_called_a_file_or_shared_for_certain(walker: str, new_map: NewMap) -> None:
    start = new_map(2 * HUGE, advice=HUGEPAGE)
    read(start)
    said = line(start, 2 * HUGE, walker)
    assert "of files" not in said
    assert "shared with other processes" not in said or "or the page of zeros" in said


def test_huge(seeing: str, new_map: NewMap) -> None:
    start = new_map(4 * HUGE, advice=HUGEPAGE)
    write(start, 4 * HUGE)
    if smaps(start, "AnonHugePages") != 4 * HUGE:
        pytest.skip("needs huge pages, which the kernel did not give")
    assert clauses(start, 4 * HUGE, seeing) == ["all resident", LARGE, "nothing swapped", "shared with nobody"]
    assert smaps(start, "Private_Dirty") == 4 * HUGE


def test_an_array_that_does_not_begin_where_a_huge_page_may(seeing: str, new_map: NewMap) -> None:
    outer = new_map(5 * HUGE, advice=HUGEPAGE)
    madvise(outer, HUGE, NOHUGEPAGE)
    madvise(outer + 4 * HUGE, HUGE, NOHUGEPAGE)
    write(outer, 5 * HUGE)
    start, length = outer + HUGE // 2, 4 * HUGE - PAGE
    if pte_magic.walk(start, start + length)["size"].max() < HUGE:
        pytest.skip("needs huge pages, which the kernel did not give")
    at_end = HUGE // 2 - PAGE
    on_huge = share(3 * HUGE, length)
    why = f"{size(HUGE // 2)} at the start and {size(at_end)} at the end are not aligned"
    assert clauses(start, length, seeing)[1] == f"{on_huge} on {HUGE_WORDS} pages ({why})"


def test_half_huge(seeing: str, new_map: NewMap) -> None:
    start = new_map(4 * HUGE, advice=HUGEPAGE)
    madvise(start + 2 * HUGE, 2 * HUGE, NOHUGEPAGE)
    write(start, 4 * HUGE)
    if smaps(start, "AnonHugePages") != 2 * HUGE:
        pytest.skip("needs huge pages, which the kernel did not give")
    on = f"50 % on {HUGE_WORDS} pages, the rest on {PAGE_WORDS} pages"
    assert clauses(start, 4 * HUGE, seeing) == ["all resident", on, "nothing swapped", "shared with nobody"]


def test_small_pages_that_could_be_huge_are_not_blamed_on_the_place(seeing: str, new_map: NewMap) -> None:
    start = new_map(3 * HUGE, advice=NOHUGEPAGE)
    write(start, 3 * HUGE)
    assert clauses(start, 3 * HUGE, seeing)[1] == SMALL
    assert clauses(start, PAGE, seeing)[1] == f"{SMALL} (less than {HUGE_WORDS})"
    assert clauses(start + PAGE, 2 * HUGE - 2 * PAGE, seeing)[1] == f"{SMALL} (no aligned {HUGE_WORDS} in it)"


def test_a_part_that_is_resident(walker: str, new_map: NewMap) -> None:
    start = new_map(8 * PAGE, advice=NOHUGEPAGE)
    write(start, 3 * PAGE)
    said = clauses(start, 8 * PAGE, walker)
    assert said[0].startswith(f"{size(3 * PAGE)} resident, {size(5 * PAGE)} without pages")
    assert said[-2:] == ["nothing swapped", "shared with nobody"]
    assert smaps(start, "Rss") == smaps(start, "Private_Dirty") == 3 * PAGE


def test_what_a_child_shares_and_what_it_copied(walker: str, new_map: NewMap) -> None:
    start = new_map(256 * PAGE, advice=NOHUGEPAGE)
    write(start, 256 * PAGE)
    with forked(lambda: None, lambda: write(start, 4 * PAGE, value=2)) as child:
        child.step()
        assert clauses(start, 256 * PAGE, walker)[-1].replace(", or the page of zeros", "") == f"all {COW}"
        child.step()
        for pid in (None, child.pid):
            said = clauses(start, 256 * PAGE, walker, pid)[-1].replace(", or the page of zeros", "")
            assert said == f"252 of 256 pages {COW}"
            assert smaps(start, "Shared_Dirty", pid or "self") == 252 * PAGE
    assert clauses(start, 256 * PAGE, walker)[-1] == "shared with nobody"
    assert smaps(start, "Private_Dirty") == 256 * PAGE


def test_a_huge_page_of_which_a_child_copied_a_page_is_not_called_ours(seeing: str, new_map: NewMap) -> None:
    start = new_map(2 * HUGE, advice=HUGEPAGE)
    write(start, 2 * HUGE)
    if smaps(start, "AnonHugePages") != 2 * HUGE:
        pytest.skip("needs huge pages, which the kernel did not give")
    with forked(lambda: write(start, PAGE, value=2)) as child:
        child.step()
        assert smaps(start, "Shared_Dirty") == 2 * HUGE - PAGE
        said = line(start, 2 * HUGE, seeing)
    assert "nobody" not in said
    assert f"; some of it {COW}" in said


def test_a_huge_page_that_a_child_maps_in_part_is_not_called_shared_as_a_whole(seeing: str, new_map: NewMap) -> None:
    start = new_map(2 * HUGE, advice=HUGEPAGE)
    write(start, HUGE)
    if smaps(start, "AnonHugePages") != HUGE:
        pytest.skip("needs huge pages, which the kernel did not give")
    with forked(lambda: None, lambda: madvise(start + PAGE, HUGE - PAGE, DONTNEED)) as child:
        child.step()
        assert smaps(start, "Shared_Dirty") == HUGE
        assert clauses(start, HUGE, seeing)[-1] == f"all {COW}"
        child.step()
        assert smaps(start, "Shared_Dirty") == PAGE
        assert clauses(start, HUGE, seeing)[-1] == f"some of it {COW}"
        write(start + HUGE, HUGE)
        assert smaps(start, "AnonHugePages") == 2 * HUGE
        said = clauses(start, 2 * HUGE, seeing)[-1]
    assert said in {
        f"up to 1 of 2 pages {COW}",
        f"some of it {COW}",
    }  # to an ordinary user, neither shows if it is ours


def test_two_processes_have_a_line_each(walker: str, new_map: NewMap) -> None:
    start = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(start, 4 * PAGE)
    with forked(lambda: write(start, PAGE, value=2)) as child:
        child.step()
        both = [pte_magic.walk(start, start + 4 * PAGE, pid=pid, walker=walker) for pid in (os.getpid(), child.pid)]
    said = [found.words for found in first_line.lines(pd.concat(both, ignore_index=True))]
    assert [words.partition(": ")[0] for words in said] == [f"pid {os.getpid()}", f"pid {child.pid}"]
    assert all("3 of 4 pages shared" in words for words in said)


def kind_of(fd: int) -> str:
    """Return the words for the pages of a file, by statfs(2); stat(2) tells whether maps may have another device."""
    line = ["stat", "-fLc", "%T", f"/proc/self/fd/{fd}"]
    name = subprocess.run(line, pass_fds=[fd], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    if name == "tmpfs":
        return "shared memory (tmpfs)"
    return "files" if os.major(os.fstat(fd).st_dev) else r"files or shared memory"


def test_shared_memory_without_a_file(walker: str, new_map: NewMap) -> None:
    start = new_map(4 * PAGE, READ | WRITE, SHARED | ANONYMOUS, advice=NOHUGEPAGE)
    write(start, 4 * PAGE)
    assert smaps(start, "Private_Dirty") == 4 * PAGE
    assert clauses(start, 4 * PAGE, walker)[-2:] == ["all of shared memory (tmpfs)", "mapped nowhere else"]


def test_of_shared_memory_without_pages_no_entry_tells_whether_it_is_swapped(walker: str, new_map: NewMap) -> None:
    start = new_map(8 * PAGE, READ | WRITE, SHARED | ANONYMOUS, advice=NOHUGEPAGE)
    write(start, 4 * PAGE)
    assert "no private memory swapped" in clauses(start, 8 * PAGE, walker)


@pytest.fixture
def pool() -> Iterator[None]:
    """Have a page of hugetlb."""
    count = Path(f"/sys/kernel/mm/hugepages/hugepages-{HUGE >> 10}kB/nr_hugepages")
    if os.geteuid() or not count.exists():
        pytest.skip("needs root, and a kernel with hugetlb")
    before = count.read_text(encoding="ascii")
    count.write_text(str(int(before) + 1), encoding="ascii")
    try:
        if int(count.read_text(encoding="ascii")) <= int(before):
            pytest.skip("needs unbroken memory for a page of hugetlb")
        yield
    finally:
        count.write_text(before, encoding="ascii")


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("sharing", [PRIVATE, SHARED])
def test_hugetlb(seeing: str, new_map: NewMap, sharing: int) -> None:
    start = new_map(HUGE, flags=sharing | ANONYMOUS | hugetlb())
    write(start)
    assert smaps(start, "Private_Hugetlb") == HUGE
    first, pages, *_ = clauses(start, HUGE, seeing)
    assert (first, pages) == ("all resident", f"{LARGE} of hugetlb")
    assert "tmpfs" not in line(start, HUGE, seeing)


@pytest.mark.parametrize("kind", ["file", "memfd"])
def test_pages_of_files(walker: str, new_map: NewMap, tmp_path: Path, kind: str) -> None:
    fd = os.memfd_create("test") if kind == "memfd" else os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 4 * PAGE, 0)
    of = kind_of(fd)
    start = new_map(4 * PAGE, READ | WRITE, SHARED, fd)
    read(start, 4 * PAGE)
    said = clauses(start, 4 * PAGE, walker)
    assert said[-2:] == [f"all of {of}", "mapped nowhere else"]
    again = new_map(4 * PAGE, READ | WRITE, PRIVATE, fd)
    os.close(fd)
    read(again, 4 * PAGE)
    write(again)
    assert clauses(start, 4 * PAGE, walker)[-2:] == [
        f"all of {of}",
        "3 of 4 pages also mapped elsewhere",
    ]
    assert clauses(again, 4 * PAGE, walker)[-2:] == [
        f"3 of 4 pages of {of}",
        "3 of 4 pages also mapped elsewhere",
    ]


def said(*spans: tuple[int, str, Sequence[int]]) -> list[str]:
    """Return the clauses about entries made by hand, of x86-64, of which pagemap says nothing."""
    (found,) = first_line.lines(made(*spans))
    return found.words.partition(": ")[2].split("; ")


def test_all_sizes_and_states() -> None:
    small = (page(5), swap(7), swap(0x123, MIGRATION_TYPE), GUARD, protnone(9))
    large = (START, "pud", [huge(1 << 18)]), (START + GIB, "pmd", [huge(512), 0])
    assert said(*large, (START + GIB + 2 * MIB2, "pte", small)) == [
        "1.002 GiB resident (4 KiB without access), 2 MiB without pages, 4 KiB being moved, 4 KiB guarded",
        "of that, 99.8 % on 1 GiB pages, 0.195 % on 2 MiB pages, the rest on 4 KiB pages",
        "4 KiB swapped out",
    ]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([page(5)], "all resident; all on 4 KiB pages; nothing swapped"),
        ([0, 0], "nothing there: untouched, or given back"),
        ([swap(1), swap(2)], "all swapped out"),
        ([protnone(9)] * 2, "all resident (all without access); all on 4 KiB pages; nothing swapped"),
        ([swap(1), 0], "nothing resident, 4 KiB without pages; 4 KiB swapped out"),
        ([GUARD, page(3)], "4 KiB resident, 4 KiB guarded; all on 4 KiB pages; nothing swapped"),
    ],
)
def test_what_entries_say_without_pagemap(raw: list[int], words: str) -> None:
    frame = made((START, "pte", raw))
    frame.attrs["ranges"] = ((START, START + len(raw) * 4096),)
    (found,) = first_line.lines(frame)
    expected = f"{size(len(raw) * 4096)}: {words}"
    assert found.words.replace(" (less than 2 MiB)", "").replace(" (untouched, or given back)", "") == expected


def test_only_what_was_asked_for_counts() -> None:
    frame = made((START, "pmd", [huge(512), huge(1024), 0]))
    frame.attrs["ranges"] = ((START + MIB2 // 2, START + 2 * MIB2 + 4096),)
    (found,) = first_line.lines(frame)
    assert found.words.startswith(f"{size(MIB2 + MIB2 // 2 + 4096)}: 3 MiB resident, 4 KiB without pages")


def test_percentages_are_never_all_or_nothing_unless_they_are() -> None:
    assert [share(part, 10**6) for part in (0, 1, 996_000, 999_999, 10**6)] == [
        "0 %",
        "less than 0.1 %",
        "99.6 %",
        "more than 99.9 %",
        "100 %",
    ]


@pytest.mark.parametrize("without", [["mmap_exclusive"], ["mmap_exclusive", "file"]])
def test_what_a_frame_does_not_say_is_left_out(new_map: NewMap, without: list[str]) -> None:
    start = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(start, 4 * PAGE)
    frame: Any = pte_magic.walk(start, start + 4 * PAGE).drop(columns=without)
    assert "shared with nobody" not in repr(frame)
    assert "all resident" in repr(frame).splitlines()[0]
    stream = next(pte_magic.stream(start, start + 4 * PAGE, walker="auto"))
    if stream["entry"].notna().all():
        assert "nobody" not in repr(stream).splitlines()[0]
