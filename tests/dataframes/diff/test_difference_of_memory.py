"""Differences of real memory: what was done to it, in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import forked, needs_root, rows, walked
from differences import told
from handmade import (
    ANONYMOUS,
    COLLAPSE,
    DONTNEED,
    EXEC,
    FIXED,
    GUARD_INSTALL,
    GUARD_REMOVE,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    PAGE,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    libc,
    madvise,
    mprotect,
    munmap,
    pfn,
    read,
    resident,
    smaps,
    write,
)

import pte_magic
from pte_magic.linux.address_space import AddressSpace, own

if TYPE_CHECKING:
    from handmade import NewMap

    from pte_magic import PteFrame


@pytest.mark.parametrize("name", ["bpf", pytest.param("pagemap", id="pagemap")])
@needs_root
def test_a_first_read_and_a_first_write(new_map: NewMap, name: str) -> None:
    address = new_map(8 * PAGE, advice=NOHUGEPAGE)
    write(address)  # so that there is a table
    before = rows(address, 8 * PAGE, name)
    read(address + 2 * PAGE)
    write(address + 5 * PAGE)
    between = rows(address, 8 * PAGE, name)
    assert told(before.diff(between)) == {address + 2 * PAGE: {"mapped"}, address + 5 * PAGE: {"mapped"}}
    write(address + 2 * PAGE)  # the zero page is exchanged for one of its own
    found = between.diff(rows(address, 8 * PAGE, name))
    assert found["vaddr"].tolist() == [address + 2 * PAGE]
    assert found["pfn_after"].tolist() == [pfn(address + 2 * PAGE)]
    expected = {"new page frame", "made writable", "dirty", "no longer special"}
    assert expected <= set(found["change"][0].split(", ")) if name == "bpf" else "new page frame" in found["change"][0]


@needs_root
def test_less_access_more_access_and_none(new_map: NewMap) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(address, 4 * PAGE)
    before = rows(address, 4 * PAGE)
    mprotect(address, PAGE, READ)
    mprotect(address + PAGE, PAGE, NONE)
    between = rows(address, 4 * PAGE)
    assert told(before.diff(between)) == {address: {"write-protected"}, address + PAGE: {"access taken away"}}
    mprotect(address, 2 * PAGE, READ | WRITE)
    write(address)
    assert told(between.diff(rows(address, 4 * PAGE))) == {
        address: {"made writable"},
        address + PAGE: {"access given back"},
    }


@needs_root
def test_a_fork_and_a_write_after_it(new_map: NewMap) -> None:
    address = new_map(3 * PAGE, advice=NOHUGEPAGE)
    write(address, 3 * PAGE)
    before = rows(address, 3 * PAGE)
    with forked(lambda: write(address + PAGE)) as child, AddressSpace(child.pid) as space:

        def theirs() -> PteFrame:
            return walked("bpf", space, address, address + 3 * PAGE)

        ours = before.diff(rows(address, 3 * PAGE))
        assert told(ours) == {address + i * PAGE: {"write-protected"} for i in range(3)}
        between = theirs()
        child.step()
        found = between.diff(theirs())
        assert found["vaddr"].tolist() == [address + PAGE]
        assert {"new page frame", "made writable"} <= set(found["change"][0].split(", "))
        assert found["pfn_after"].tolist() == [pfn(address + PAGE, child.pid)]
        assert rows(address, 3 * PAGE)["pfn"].tolist() == before["pfn"].tolist()


@needs_root
def test_memory_that_is_not_needed_is_unmapped(new_map: NewMap) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(address, 4 * PAGE)
    before = rows(address, 4 * PAGE)
    madvise(address + PAGE, 2 * PAGE, DONTNEED)
    assert not resident(address + PAGE)
    assert told(before.diff(rows(address, 4 * PAGE))) == {address + i * PAGE: {"unmapped"} for i in (1, 2)}


def huge_page(new_map: NewMap) -> int:
    """Return the address of a huge page; have the kernel make room for one if none is free."""
    for _ in range(3):
        address = new_map(HUGE, advice=HUGEPAGE)
        write(address, HUGE)
        if smaps(address, "AnonHugePages") == HUGE:
            return address
        Path("/proc/sys/vm/compact_memory").write_text("1", encoding="ascii")
    pytest.skip("needs a free huge page, which this machine has none of at the moment")


@needs_root
def test_a_huge_page_is_split_and_made_again(new_map: NewMap) -> None:
    address = huge_page(new_map)
    before = rows(address, HUGE)
    assert before["size"].tolist() == [HUGE]
    mprotect(address + 3 * PAGE, PAGE, READ)
    between = rows(address, HUGE)
    found = before.diff(between)
    expected = {address + i * PAGE: {"became 4 KiB"} for i in range(512)}
    expected[address + 3 * PAGE] |= {"write-protected"}
    assert told(found) == expected
    assert found["pfn_before"].tolist() == found["pfn_after"].tolist()
    mprotect(address + 3 * PAGE, PAGE, READ | WRITE)
    try:
        madvise(address, HUGE, COLLAPSE)
    except OSError as error:
        pytest.skip(f"needs a kernel with MADV_COLLAPSE (6.1) and a huge page: {error}")
    again = between.diff(rows(address, HUGE))
    assert (again["vaddr"].tolist(), again["size"].tolist()) == ([address], [HUGE])
    assert {"became 2 MiB", "new page frame"} <= set(again["change"][0].split(", "))
    assert again["pfn_after"].tolist() == [pfn(address)]


@needs_root
def test_a_page_of_shared_memory_gets_dirty(new_map: NewMap) -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, 2 * PAGE)
    address = new_map(2 * PAGE, READ | WRITE, SHARED, fd)
    os.close(fd)
    write(address)
    read(address + PAGE)
    before = rows(address, 2 * PAGE)
    assert before["dirty"].tolist() == [True, False]
    write(address + PAGE)
    assert told(before.diff(rows(address, 2 * PAGE))) == {address + PAGE: {"dirty"}}


@needs_root
def test_a_page_gets_executable_and_no_longer_is(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    before = rows(address)
    mprotect(address, PAGE, READ | EXEC)
    between = rows(address)
    assert told(before.diff(between)) == {address: {"write-protected", "made executable"}}
    mprotect(address, PAGE, READ | WRITE)
    assert told(between.diff(rows(address))) == {address: {"made writable", "no longer executable"}}


@needs_root
def test_what_was_accessed_no_longer_is(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    before = rows(address)
    Path("/proc/self/clear_refs").write_text("1", encoding="ascii")  # proc_pid_clear_refs(5)
    assert told(before.diff(rows(address))) == {address: {"no longer accessed"}}


@needs_root
def test_guards_are_installed_and_removed(new_map: NewMap) -> None:
    address = new_map(3 * PAGE, advice=NOHUGEPAGE)
    write(address, 2 * PAGE)
    before = rows(address, 3 * PAGE)
    try:
        madvise(address + PAGE, 2 * PAGE, GUARD_INSTALL)
    except OSError:
        pytest.skip("needs a kernel with MADV_GUARD_INSTALL (6.13)")
    between = rows(address, 3 * PAGE)
    assert told(before.diff(between)) == {
        address + PAGE: {"unmapped", "guard installed"},
        address + 2 * PAGE: {"guard installed"},
    }
    madvise(address + PAGE, 2 * PAGE, GUARD_REMOVE)
    write(address + PAGE)
    assert told(between.diff(rows(address, 3 * PAGE))) == {
        address + PAGE: {"mapped", "guard removed"},
        address + 2 * PAGE: {"guard removed"},
    }


@needs_root
def test_another_mapping_in_the_same_place(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    write(address, 2 * PAGE)
    before = rows(address, 2 * PAGE)
    assert libc.mmap(address, 2 * PAGE, READ | WRITE, PRIVATE | ANONYMOUS | FIXED, -1, 0) == address
    between = rows(address, 2 * PAGE)
    assert told(before.diff(between)) == {address + i * PAGE: {"unmapped"} for i in range(2)}
    madvise(address, 2 * PAGE, NOHUGEPAGE)
    write(address)
    assert told(between.diff(rows(address, 2 * PAGE))) == {address: {"mapped"}}


def test_a_page_that_is_mapped_twice_and_only_here_again(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    write(address, 2 * PAGE)
    both = {address, address + PAGE}
    before = rows(address, 2 * PAGE, "pagemap")
    with forked(lambda: write(address + PAGE)) as child:
        between = rows(address, 2 * PAGE, "pagemap")
        assert told(before.diff(between)) == {page: {"also mapped elsewhere"} for page in both}
        child.step()
        after = rows(address, 2 * PAGE, "pagemap")
        assert told(between.diff(after)) == {address + PAGE: {"mapped only here"}}  # the child has a copy of that one
    assert told(between.diff(rows(address, 2 * PAGE, "pagemap"))) == {page: {"mapped only here"} for page in both}


def test_a_page_of_a_file_is_copied_and_given_back(new_map: NewMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(PAGE))
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    address = new_map(PAGE, READ | WRITE, PRIVATE, fd)
    os.close(fd)
    read(address)
    before = rows(address, PAGE, "pagemap")
    write(address)
    between = rows(address, PAGE, "pagemap")
    assert "anonymous page" in told(before.diff(between))[address]
    madvise(address, PAGE, DONTNEED)
    read(address)
    assert "page of a file or shared memory" in told(between.diff(rows(address, PAGE, "pagemap")))[address]


@needs_root
def test_memory_that_gets_a_page_and_is_closed(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    before = rows(address)
    write(address)
    mprotect(address, PAGE, NONE)
    assert told(before.diff(rows(address))) == {address: {"mapped without access"}}


@needs_root
def test_tables_come_and_go_and_come_again(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=NOHUGEPAGE)  # nothing else lies in its table

    def tables() -> PteFrame:
        return walked("bpf", own(), address, address + HUGE, tables=True)

    def of_the_table(before: PteFrame, after: PteFrame) -> list[str]:
        found = before.diff(after)
        return found.loc[found["level"] == "pmd", "change"].tolist()

    none = tables()
    write(address)
    first = tables()
    assert of_the_table(none, first) == ["table added"]
    munmap(address, HUGE)
    gone = tables()
    assert of_the_table(first, gone) == ["table removed"]
    other = new_map(HUGE, advice=NOHUGEPAGE)
    write(other)  # may have got the page that the table was in
    for _ in range(9):
        assert libc.mmap(address, HUGE, READ | WRITE, PRIVATE | ANONYMOUS | FIXED, -1, 0) == address
        madvise(address, HUGE, NOHUGEPAGE)
        write(address)
        if of_the_table(first, tables()):
            break
        munmap(address, HUGE)
        write(new_map(HUGE, advice=NOHUGEPAGE))
    assert of_the_table(first, tables()) == ["other table"]


@needs_root
def test_nothing_changed_where_nobody_did_anything(new_map: NewMap) -> None:
    address = new_map(HUGE)
    write(address, 4 * PAGE)
    assert repr(rows(address, HUGE).diff(rows(address, HUGE))) == "nothing changed"


def test_what_pagemap_does_not_show_is_not_said_to_be_as_it_was(new_map: NewMap) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    for page in range(4):
        write(address + page * PAGE)
    end = address + 4 * PAGE
    before = pte_magic.walk(address, end, walker="pagemap")
    mprotect(address, 4 * PAGE, READ)
    after = pte_magic.walk(address, end, walker="pagemap")
    assert repr(before.diff(after)) == "nothing that pagemap shows has changed"
    assert "<p>nothing that pagemap shows has changed</p>" in str(before.diff(after)._repr_html_())
    assert repr(before.drop(columns="walker").diff(after.drop(columns="walker"))) == (
        "nothing that is known without raw entries has changed"
    )


@needs_root
def test_where_all_is_known_nothing_changed_is_said(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    write(address)
    before, after = (pte_magic.walk(address, address + 2 * PAGE) for _ in range(2))
    assert repr(before.diff(after)) == "nothing changed"
    words = pte_magic.walk(address, address + 2 * PAGE, walker="pagemap")
    assert repr(before.diff(words)) == repr(words.diff(before)) == "nothing that pagemap shows has changed"
