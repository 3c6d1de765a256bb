"""A 32-bit process: a 64-bit kernel gives it tables like any other's, of which it uses the first 4 GiB."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import program32
import pytest
from conftest import by_page, needs_root, walked
from handmade import GIB, PAGE, PM_PFN, PM_PRESENT, words
from waiting import wait_until

import pte_magic
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from program32 import Program

NAMES = ("[stack]", "[heap]", "[vdso]", "program32")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program32.running(tmp_path) as found:
        wait_until(lambda: ") S " in Path(f"/proc/{found.pid}/stat").read_text(encoding="ascii"))
        yield found


def present(start: int, end: int, pid: int) -> dict[int, int]:
    """Return the pages that pagemap says are present, and their frames."""
    told = words(start, end - start, pid)
    at = np.flatnonzero(told & np.uint64(PM_PRESENT))
    return {start + int(i) * PAGE: int(told[i]) & PM_PFN for i in at}


def found(table: pte_magic.PteFrame) -> dict[int, int]:
    """Return the pages that a walk found present, and their frames; 0 if these are not told."""
    there = table[table["state"].isin(["present", "protnone"])]
    columns = zip(there["vaddr"].tolist(), there["size"].tolist(), there["pfn"].fillna(0).tolist(), strict=True)
    return {vaddr + i * PAGE: pfn and pfn + i for vaddr, size, pfn in columns for i in range(size // PAGE)}


def test_what_it_mapped_is_as_pagemap_says(walker: str, program: Program) -> None:
    start, end = program.mapped, program.mapped + program32.MAPPED
    told = present(start, end, program.pid)
    assert {start + at for at in program32.TOUCHED} <= set(told)
    with AddressSpace(program.pid) as space:
        table = walked(walker, space, start, end)
    pages = by_page(table, start, end)
    assert [start + int(i) * PAGE for i in np.flatnonzero(pages["state"] == "present")] == list(told)
    if os.geteuid() == 0:
        assert pages["pfn"][pages["state"] == "present"].tolist() == list(told.values())


@pytest.mark.parametrize("name", NAMES)
def test_its_regions_have_their_names(walker: str, program: Program, name: str) -> None:
    with AddressSpace(program.pid) as space:
        regions = [region for region in space.regions() if region.name.rpartition("/")[2] == name]
    assert regions, "the kernel has given it no such region"
    told: dict[int, int] = {}
    for region in regions:
        assert region.end <= 1 << 32
        told |= present(region.start, region.end, program.pid)
    there = found(pte_magic.walk(name, pid=program.pid, walker=walker))
    assert list(there) == list(told)
    assert told
    if os.geteuid() == 0:
        assert there == told
    if name == "[heap]":
        assert program.heap & -PAGE in there


def test_all_of_it_lies_below_4_gib(walker: str, program: Program) -> None:
    table = pte_magic.walk("all", pid=program.pid, walker=walker)
    assert int(table["vaddr"].iloc[0]) == 0
    assert int(table["vaddr"].iloc[-1]) + int(table["size"].iloc[-1]) == hardware.user_limit()
    there = found(table)
    assert max(there) < 4 * GIB
    with AddressSpace(program.pid) as space:
        regions = space.regions()
    regions = [region for region in regions if not region.name.startswith("[vvar")]  # see test_contract.py
    told: dict[int, int] = {}
    for region in regions:
        told |= present(region.start, region.end, program.pid)
    there = {at: there[at] for at in there if any(region.start <= at < region.end for region in regions)}
    assert there == (told if os.geteuid() == 0 else dict.fromkeys(told, 0))


@needs_root
def test_its_tables_have_the_levels_of_the_kernel(raw_walker: str, program: Program) -> None:
    chain = pte_magic.walk(program.mapped, pid=program.pid, walker=raw_walker)
    assert list(chain["level"]) == list(hardware.shifts())
    assert list(chain["state"]) == ["table"] * (hardware.levels() - 1) + ["present"]
    assert [int(vaddr) for vaddr in chain["vaddr"]] == [
        program.mapped & -(1 << shift) for shift in hardware.shifts().values()
    ]
    assert int(chain["pfn"].iloc[-1]) == int(words(program.mapped, PAGE, program.pid)[0]) & PM_PFN
