"""`walk`, `entries`: arguments, errors, and nothing left behind."""

from __future__ import annotations

import mmap
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import descriptors, forked, needs_root
from handmade import PAGE, PM_PFN, PM_PRESENT, NewMap, munmap, words, write

import pte_magic
from pte_magic import walkers
from pte_magic.linux.hardware import user_limit

LIMIT = user_limit()
Ask = Callable[..., Any]


@pytest.fixture(params=["walk", "entries"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the two functions that take a target."""
    function: Ask = getattr(pte_magic, request.param)
    return function


@pytest.fixture
def zombie() -> Iterator[int]:
    child = subprocess.Popen(["true"])
    while "State:\tZ" not in Path(f"/proc/{child.pid}/status").read_text(encoding="utf-8"):
        time.sleep(0.01)
    yield child.pid
    child.wait()


def test_an_array_is_a_row_a_page_with_the_frames_of_pagemap(walker: str, new_map: NewMap) -> None:
    address = new_map(16 * PAGE)
    write(address, 16 * PAGE)
    table = pte_magic.walk(address, address + 16 * PAGE, walker=walker)
    said = words(address, 16 * PAGE)
    assert table["vaddr"].tolist() == [*range(address, address + 16 * PAGE, PAGE)]
    assert (said & np.uint64(PM_PRESENT)).all()
    assert table["pfn"].fillna(0).tolist() == (said & np.uint64(PM_PFN)).tolist()  # 0 where the kernel hides it
    assert set(table["walker"]) == {walker}
    assert set(table["pid"]) == {os.getpid()}


def test_entries_are_those_of_the_frame(new_map: NewMap) -> None:
    address = new_map(16 * PAGE)
    write(address, 8 * PAGE)
    raw = pte_magic.entries(address, address + 16 * PAGE)
    table = pte_magic.walk(address, address + 16 * PAGE)
    assert raw.vaddr.tolist() == table["vaddr"].tolist()
    assert raw.size.tolist() == table["size"].tolist()
    if raw.encoding == "x86_64":
        assert raw.entry.tolist() == table["entry"].tolist()


def test_one_address_shows_the_way_to_it(new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    table = pte_magic.walk(address + 5)
    expected = ["table"] * (len(table) - 1) if table["walker"][0] == "bpf" else []
    assert table["state"].tolist() == [*expected, "present"]
    assert pte_magic.walk(address, tables=False)["vaddr"].tolist() == [address]
    assert len(pte_magic.walk(address, address + PAGE)) == 1
    assert len(pte_magic.walk(address, address + PAGE, tables=True)) == len(table)


@pytest.mark.parametrize("number", [int, np.int64, np.uint64, hex, str])
def test_an_address_in_any_form(number: Callable[[int], object], new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    assert pte_magic.walk(number(address))["vaddr"].tolist()[-1] == address


def test_own_pid_is_this_process(ask: Ask, new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    mine, by_pid = ask(address, address + PAGE), ask(address, address + PAGE, pid=os.getpid())
    assert list(mine.vaddr) == list(by_pid.vaddr)
    assert list(mine.entry) == list(by_pid.entry)


@needs_root
def test_another_process_has_pages_of_its_own(new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    with forked(lambda: write(address, PAGE, 2)) as child:
        child.step()
        theirs = pte_magic.walk(address, address + PAGE, pid=child.pid)
        assert theirs["pfn"].tolist() == [int(words(address, PAGE, child.pid)[0]) & PM_PFN]
        assert theirs["pid"].tolist() == [child.pid]
        assert theirs["pfn"].tolist() != pte_magic.walk(address, address + PAGE)["pfn"].tolist()


def test_memory_that_was_freed_is_none(walker: str, new_map: NewMap) -> None:
    address = new_map(8 * PAGE)
    write(address, 8 * PAGE)
    munmap(address, 8 * PAGE)
    table = pte_magic.walk(address, address + 8 * PAGE, walker=walker)
    assert set(table["state"]) == {"none"}
    assert table["pfn"].isna().all()


def test_an_odd_range_is_widened_and_says_so(ask: Ask, new_map: NewMap) -> None:
    address = new_map(4 * PAGE)
    write(address, 4 * PAGE)
    with pytest.warns(UserWarning, match="was widened to whole pages: ") as caught:
        found = ask(address + 1, address + PAGE + 1)
    assert list(found.vaddr) == [address, address + PAGE]
    assert caught[0].filename == __file__


def test_a_temporary_is_held_while_it_is_walked() -> None:
    table = pte_magic.walk(np.ones(1 << 20) * 2)
    assert set(table["state"]) == {"present"}


def test_the_whole_address_space_has_a_bounded_number_of_rows(walker: str) -> None:
    table = pte_magic.walk("all", walker=walker)
    ends = (table["vaddr"] + table["size"]).tolist()
    assert table["vaddr"].tolist() == [0, *ends[:-1]]
    assert ends[-1] == LIMIT
    assert len(table) < 4_000_000


MAPPED = mmap.mmap(-1, PAGE)
MAPPED.close()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["nonsense"], {}, "'nonsense' is not an address, a START-END range, a region or a defined name; regions"),
        ([-1], {}, "-0x1 is not a 64-bit address"),
        ([LIMIT], {}, "is not canonical"),
        ([0xFFFF888000000000], {}, "0xffff888000000000 is a kernel address"),
        ([0x2000, 0x1000], {}, "0x2000-0x1000: the end lies before the start"),
        ([b"abc", 5], {}, "`end` needs an integer start address, not b'abc'; leave it out"),
        ([b""], {}, "the bytes holds 0 bytes"),
        ([MAPPED], {}, "the mmap gives no access to its memory: mmap closed or invalid"),
        (["all"], {"walker": "gdb"}, "walker 'gdb' does not exist; type one of auto, bpf, helper, stap, pagemap"),
        (["all"], {"pid": 1 << 30}, "pid 1073741824: no such process; "),
        (["all"], {"pid": 0}, "pid 0: no such process; "),
        (["all"], {"pid": -1}, "pid -1: no such process; "),
        (["all"], {"pid": 2}, "pid 2: (a kernel thread has no user address space|permission denied|no such process)"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing_open(
    ask: Ask, arguments: list[Any], options: dict[str, Any], message: str
) -> None:
    walkers.get()
    before = descriptors()
    with pytest.raises(pte_magic.PteMagicError, match=f"{message}") as caught:
        ask(*arguments, **options)
    assert descriptors() == before
    assert len(str(caught.value).splitlines()) == 1


def test_a_zombie_is_named_as_one(ask: Ask, zombie: int) -> None:
    before = descriptors()
    with pytest.raises(pte_magic.PteMagicError, match=f"pid {zombie}: a zombie"):
        ask("all", pid=zombie)
    assert descriptors() == before


def test_other_processes_are_closed_again(ask: Ask) -> None:
    with forked() as child:
        ask("[stack]", pid=child.pid)
        before = descriptors()
        for _ in range(20):
            ask("[stack]", pid=child.pid)
        assert descriptors() == before
