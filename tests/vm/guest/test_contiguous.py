"""Blocks of small pages that arm64 may hold as one translation: folios of that size that the kernel gives by itself.

Since 6.9 it sets and clears the contiguous bit of such a block as its pages come to agree and to differ ("arm64/mm:
Wire up PTE_CONT for user mappings"). Those of hugetlb are in test_hugetlb.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from agreement import agree, raw_walkers
from conftest import forked, only_on, rows
from differences import told
from handmade import (
    DONTNEED,
    HUGE,
    HUGEPAGE,
    NONE,
    PAGE,
    PAGE_WORDS,
    READ,
    WRITE,
    NewMap,
    madvise,
    mprotect,
    pfn,
    write,
)
from versions import release

import pte_magic
from pte_magic import walkers
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace
from pte_magic.text import units

if TYPE_CHECKING:
    from collections.abc import Iterator

CONT = 1 << 52
BLOCK = {4: 64 << 10, 16: 2 << 20, 64: 2 << 20}.get(PAGE >> 10, PAGE)  # CONT_PTE_SHIFT, arch/arm64/Kconfig
EACH = BLOCK // PAGE
SIZES = Path("/sys/kernel/mm/transparent_hugepage")

pytestmark = [
    only_on("arm64", "entries with a contiguous bit"),
    pytest.mark.skipif(release() < (6, 9), reason="needs a kernel that joins small pages (6.9)"),
]


@pytest.fixture(autouse=True)
def _folios_as_large_as_a_block() -> Iterator[None]:
    """Have memory that is advised consist of folios of a block."""
    wanted = dict.fromkeys(SIZES.glob("hugepages-*kB/enabled"), "never")
    wanted[SIZES / f"hugepages-{BLOCK >> 10}kB" / "enabled"] = "madvise"
    before = {path: path.read_text(encoding="ascii").split("[")[1].split("]")[0] for path in wanted}
    for path, value in wanted.items():
        path.write_text(value, encoding="ascii")
    yield
    for path, value in before.items():
        path.write_text(value, encoding="ascii")


@pytest.fixture
def address(new_map: NewMap) -> int:
    """Three blocks, of which the kernel made each at the touch of one page, and one that nobody touched."""
    address = new_map(HUGE, advice=HUGEPAGE)
    for block in range(3):
        write(address + block * BLOCK + block * PAGE)
    return address


def blocks(address: int, pid: int | None = None) -> list[bool]:
    """Return which of three blocks are contiguous, as all entries of each say; fail if anything else of them is odd."""
    found = agree(address, 3 * BLOCK, pid)
    assert found["vaddr"].tolist() == list(range(address, address + 3 * BLOCK, PAGE))
    assert set(found["size"]) == {PAGE}
    assert set(found["level"]) == {"pte"}
    assert found["cont"].tolist() == [bool(int(entry) & CONT) for entry in found["entry"]]
    assert found["mapped"].tolist() == [BLOCK if joined else PAGE for joined in found["cont"]]
    of_block = [set(found["cont"][at * EACH : (at + 1) * EACH]) for at in range(3)]
    assert all(len(said) == 1 for said in of_block)
    return [said.pop() for said in of_block]


def test_folio_of_that_size_is_one_translation(address: int) -> None:
    assert blocks(address) == [True] * 3
    found = rows(address, 3 * BLOCK)
    first = found["pfn"][::EACH].tolist()
    assert first == [pfn(address + block * BLOCK) for block in range(3)]
    assert all(frame % EACH == 0 for frame in first)
    assert found["pfn"].tolist() == [frame + page for frame in first for page in range(EACH)]


def test_block_of_which_a_page_is_protected_is_not_one_any_more(address: int) -> None:
    before = rows(address, 3 * BLOCK)
    mprotect(address + BLOCK + PAGE, PAGE, READ)
    assert blocks(address) == [True, False, True]
    changed = told(before.diff(rows(address, 3 * BLOCK)))
    assert list(changed) == list(range(address + BLOCK, address + 2 * BLOCK, PAGE))
    assert all("no longer contiguous" in words for words in changed.values())
    assert [at for at, words in changed.items() if "write-protected" in words] == [address + BLOCK + PAGE]
    mprotect(address + BLOCK + PAGE, PAGE, READ | WRITE)


def test_block_without_access_keeps_its_frames(address: int) -> None:
    frames = rows(address, BLOCK)["pfn"].tolist()
    mprotect(address, BLOCK, NONE)
    found = agree(address, BLOCK)
    assert set(found["state"]) == {"protnone"}
    assert found["pfn"].tolist() == frames
    mprotect(address, BLOCK, READ | WRITE)
    assert rows(address, BLOCK)["pfn"].tolist() == frames


def test_block_with_a_hole_is_not_one(address: int) -> None:
    madvise(address + 2 * PAGE, PAGE, DONTNEED)
    found = agree(address, 2 * BLOCK)
    assert found["state"].tolist().count("none") == 1
    assert set(found["cont"][:EACH].fillna(value=False)) == {False}
    assert set(found["cont"][EACH:]) == {True}


def test_child_has_the_same_blocks(address: int) -> None:
    with forked(lambda: write(address + PAGE)) as child:
        assert blocks(address, child.pid) == [True] * 3
        child.step()  # the page is copied, so it is not next to the others any more
        assert blocks(address, child.pid) == [False, True, True]


def test_a_machine_counts_what_each_process_has_in_blocks(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    with forked(lambda: write(address, HUGE)) as child, AddressSpace(child.pid) as space:
        child.step()
        table = pte_magic.machine(walker=raw_walkers()[0]).set_index("pid")
        raw = walkers.get(raw_walkers()[0]).walk(space, 0, hardware.user_limit())
    assert (table.filter(like="resident_").sum(axis=1) == table["resident"]).all()
    joined = raw.size[(raw.entry & np.uint64(1) == 1) & (raw.entry & np.uint64(CONT) != 0)]
    assert table.loc[[child.pid], "contiguous"].tolist() == [joined.sum()]
    assert joined.sum() >= HUGE


def test_what_is_told_of_a_range_names_the_blocks(address: int) -> None:
    mprotect(address + BLOCK, PAGE, READ)
    found = rows(address, 3 * BLOCK)
    summary = found.summary()["entries"].to_dict()
    assert summary == {("present", PAGE): EACH, ("present", BLOCK): 2 * EACH}
    words = f"present {PAGE_WORDS} in contiguous {units.size(BLOCK)}"
    assert f"{words} \N{MULTIPLICATION SIGN} {2 * EACH}" in repr(found)
    assert units.size(BLOCK) in found.map(color="size").text()
    assert f"block of {units.size(BLOCK)}" in repr(rows(address).iloc[:1].bits())
    mprotect(address + BLOCK, PAGE, READ | WRITE)
