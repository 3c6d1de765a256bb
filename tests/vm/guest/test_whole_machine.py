"""`machine` against the kernel's own figures of memory that only a guest has: swapped, of hugetlb, merged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from accounting import compare, expected
from conftest import forked
from handmade import ANONYMOUS, HUGE, HUGEPAGE, NOHUGEPAGE, PAGE, PRIVATE, hugetlb, madvise, write
from merging import KSM, MERGEABLE, merging, rest
from pools import pool
from swapping import file_system, fill, make_file, page_out, swap_off, swap_on
from waiting import wait_until

import pte_magic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handmade import NewMap

MIB16 = 16 << 20


@pytest.fixture
def lacks(level_walker: str) -> set[str]:
    """What a walker cannot tell; without PAGEMAP_SCAN, pagemap does not tell zero pages from others either."""
    return {"page_tables"} if level_walker == "pagemap" else set()


@pytest.fixture
def _swap(tmp_path: Path) -> Iterator[None]:
    with file_system(tmp_path) as place:
        area = make_file(place / "swap", max(16 << 20, 4 * HUGE) // PAGE)
        swap_on(area)
        yield
        swap_off(area)


@pytest.mark.usefixtures("_swap")
def test_what_is_swapped_out(new_map: NewMap, level_walker: str, lacks: set[str]) -> None:
    small, huge = new_map(64 * PAGE, advice=NOHUGEPAGE), new_map(HUGE, advice=HUGEPAGE)

    def use() -> None:
        fill(small, 64)
        page_out(small, 48 * PAGE)
        write(huge, HUGE)
        page_out(huge, HUGE)

    with forked(use) as child:
        child.step()
        assert expected(child.pid)["swapped"] >= 48 * PAGE + HUGE
        compare(child.pid, level_walker, lacks=lacks)


def test_pages_of_hugetlb_count_as_huge_pages(new_map: NewMap, level_walker: str, lacks: set[str]) -> None:
    address = new_map(3 * HUGE, flags=PRIVATE | ANONYMOUS | hugetlb())
    with pool(pages=3), forked(lambda: write(address, 2 * HUGE)) as child:
        child.step()
        told = Path(f"/proc/{child.pid}/smaps_rollup").read_text(encoding="utf-8")
        assert f"Private_Hugetlb: {2 * HUGE >> 10:7} kB" in told
        compare(child.pid, level_walker, lacks=lacks)
    table = pte_magic.machine()
    assert table.attrs["left_out"] == {}  # root may look at everything


def test_merged_pages_are_shared_by_all_that_map_them(new_map: NewMap, level_walker: str, lacks: set[str]) -> None:
    address = new_map(MIB16, advice=NOHUGEPAGE)

    def use() -> None:
        write(address, MIB16, value=77)
        madvise(address, MIB16, MERGEABLE)

    with merging(), forked(use) as child:
        child.step()
        merged = MIB16 // PAGE - 1
        wait_until(lambda: int((KSM / "pages_sharing").read_text(encoding="ascii")) >= merged - merged // 256)
        rest()  # or pages are shared by more and more between two looks
        compare(child.pid, level_walker, lacks=lacks)
