"""Kernel samepage merging: pages of the same content become one frame, read-only, until somebody writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from agreement import agree, kpageflags
from handmade import NOHUGEPAGE, PAGE, NewMap, madvise, pfn, read, write
from merging import KSM, MERGEABLE, UNMERGEABLE, merging
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = 16
KPF_KSM = 1 << 21


@pytest.fixture(autouse=True)
def _ksm() -> Iterator[None]:
    with merging():
        yield


def test_merged_pages_share_a_frame_until_one_is_written(new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(address, PAGES * PAGE, value=77)
    assert agree(address, PAGES * PAGE)["pfn"].nunique() == PAGES
    madvise(address, PAGES * PAGE, MERGEABLE)
    wait_until(lambda: int((KSM / "pages_sharing").read_text(encoding="ascii")) >= PAGES - 1)
    found = agree(address, PAGES * PAGE)
    assert found["pfn"].nunique() == 1
    assert set(found["state"]) == {"present"}
    assert not found["rw"].any()
    frame = int(found["pfn"][0])
    assert kpageflags(frame) & KPF_KSM

    write(address, value=78)
    after = agree(address, PAGES * PAGE)
    assert (after["rw"][0], after["pfn"][0]) == (True, pfn(address))
    assert after["pfn"][0] != frame
    assert set(after["pfn"][1:]) == {frame}
    madvise(address, PAGES * PAGE, UNMERGEABLE)
    assert agree(address, PAGES * PAGE)["pfn"].nunique() == PAGES
    assert read(address, PAGES * PAGE) == 78 + 77 * (PAGES - 1)
