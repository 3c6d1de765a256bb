"""Pages that were swapped out: the entry says where to, and there they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from agreement import agree
from conftest import forked, only_on
from handmade import (
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PAGEOUT,
    PTES,
    READ,
    SHARED,
    WRITE,
    NewMap,
    madvise,
    pfn,
    read,
    smaps,
    write,
)
from swapping import areas, content, file_system, fill, make_file, page_out, swap_off, swap_on, zram
from versions import release
from waiting import wait_until

import pte_magic
from pte_magic.linux import hardware
from pte_magic.text.units import size
from pte_magic.views import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = 64


@pytest.fixture(scope="module", params=["file", "zram"])
def area(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place to swap to; there is another one, which is used only when this one is full."""
    with file_system(tmp_path_factory.mktemp("disk")) as place, zram("64M") as device:
        both = [make_file(place / "swap", max(16 << 20, 4 * HUGE) // PAGE), device]
        for one in both:
            swap_on(one, priority=10 if (one == device) == (request.param == "zram") else 1)
        yield both[request.param == "zram"]
        for one in both:
            swap_off(one)


def test_swapped_page_is_where_its_entry_says(new_map: NewMap, area: Path) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    fill(address, PAGES)
    page_out(address, PAGES * PAGE)
    found = agree(address, PAGES * PAGE)
    assert set(found["state"]) == {"swap"}
    assert set(found["swap_type"]) == {areas().index(str(area))}
    assert smaps(address, "Swap") == PAGES * PAGE
    for page, offset in enumerate(found["swap_offset"]):
        assert content(area, int(offset)) == bytes([page + 1]) * PAGE
    assert not found["present"].any()
    assert "uffd_wp" not in found or not found["uffd_wp"].any()  # not every architecture has the bit

    assert read(address + 3 * PAGE) == 4
    back = agree(address, PAGES * PAGE)
    assert (back["state"][3], back["pfn"][3]) == ("present", pfn(address + 3 * PAGE))
    assert (back["state"] == "swap").sum() >= PAGES // 2  # the kernel may bring neighbours back too


@pytest.mark.skipif(
    hardware.machine() == "x86_32" and release() < (6, 3), reason="needs a kernel with the bit in swap entries (6.3)"
)
def test_swapped_page_is_exclusive_until_a_fork(new_map: NewMap, area: Path) -> None:
    assert str(area) in areas()
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    page_out(address)
    before = agree(address).iloc[0]
    assert before["swp_exclusive"]
    with forked() as child:
        ours, theirs = agree(address).iloc[0], agree(address, PAGE, child.pid).iloc[0]
    assert ours["entry"] == theirs["entry"]
    assert not ours["swp_exclusive"]
    assert (ours["swap_type"], ours["swap_offset"]) == (before["swap_type"], before["swap_offset"])


def test_swapped_huge_page_is_as_many_entries_as_it_has_pages(new_map: NewMap, area: Path) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    write(address, HUGE, value=7)
    assert list(agree(address, HUGE)["level"]) == [HUGE_LEVEL]
    page_out(address, HUGE)
    found = agree(address, HUGE)
    assert (len(found), set(found["level"]), set(found["state"])) == (PTES, {"pte"}, {"swap"})
    assert found["swap_offset"].nunique() == PTES
    assert content(area, int(found["swap_offset"][77]))[::PAGE] == b"\7"
    assert read(address, HUGE) == 7 * PTES


@only_on("x86_64", "soft-dirty bits")
def test_swapped_page_remembers_whether_it_is_soft_dirty(new_map: NewMap, area: Path) -> None:
    assert str(area) in areas()
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)

    def write_one_and_page_out() -> None:
        write(address)
        page_out(address, 2 * PAGE)

    with forked(lambda: write(address, 2 * PAGE), write_one_and_page_out) as child:
        child.step()
        Path(f"/proc/{child.pid}/clear_refs").write_text("4", encoding="ascii")
        child.step()
        found = agree(address, 2 * PAGE, child.pid)
    assert list(found["state"]) == ["swap", "swap"]
    assert list(found["soft_dirty"]) == [True, False]


def test_swapped_shared_memory_leaves_nothing_in_the_tables(new_map: NewMap, area: Path) -> None:
    assert str(area) in areas()
    fd = os.memfd_create("test")
    os.ftruncate(fd, 16 * PAGE)
    address = new_map(16 * PAGE, READ | WRITE, SHARED, fd)
    os.close(fd)
    fill(address, 16)
    assert set(agree(address, 16 * PAGE)["state"]) == {"present"}

    def is_out() -> bool:
        madvise(address, 16 * PAGE, PAGEOUT)
        return smaps(address, "Swap") == 16 * PAGE

    wait_until(is_out)
    assert set(agree(address, 16 * PAGE)["state"]) == {"none"}
    assert read(address, 16 * PAGE) == np.arange(1, 17).sum()


@pytest.mark.usefixtures("area")
def test_the_first_line_says_what_is_swapped(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    fill(address, PAGES)
    page_out(address, 24 * PAGE)
    (line,) = first_line.lines(pte_magic.walk(address, address + PAGES * PAGE, walker=walker))
    head, *clauses = line.words.split("; ")
    assert head == f"{size(PAGES * PAGE)}: {size((PAGES - 24) * PAGE)} resident"
    assert clauses[-2:] == [f"{size(24 * PAGE)} swapped out", "shared with nobody"]
    assert smaps(address, "Swap") == 24 * PAGE
    assert smaps(address, "Rss") == (PAGES - 24) * PAGE
    page_out(address, PAGES * PAGE)
    (line,) = first_line.lines(pte_magic.walk(address, address + PAGES * PAGE, walker=walker))
    assert line.words == f"{size(PAGES * PAGE)}: all swapped out"
