"""Soft-dirty: which pages were written since somebody wrote 4 to /proc/PID/clear_refs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from agreement import agree, vm_flags
from conftest import forked, only_on
from handmade import HUGE, HUGEPAGE, NOHUGEPAGE, PAGE, NewMap, read, words, write

if TYPE_CHECKING:
    from conftest import Child

pytestmark = only_on("x86_64", "soft-dirty bits")
SOFT_DIRTY = 1 << 55


def clear(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("4", encoding="ascii")


@pytest.mark.parametrize(("size", "advice"), [(PAGE, NOHUGEPAGE), (HUGE, HUGEPAGE)], ids=["4KiB", "2MiB"])
def test_page_is_soft_dirty_from_a_write_until_it_is_cleared(new_map: NewMap, size: int, advice: int) -> None:
    address = new_map(2 * HUGE, advice=advice)
    steps = (lambda: write(address, HUGE + size), lambda: read(address), lambda: write(address, value=2))
    with forked(*steps) as child:
        child.step()
        assert _soft_dirty(child, address, size) == (True, True)
        clear(child.pid)
        assert "sd" not in vm_flags(address, child.pid)
        assert _soft_dirty(child, address, size) == (False, False)
        child.step()
        assert _soft_dirty(child, address, size) == (False, False)
        child.step()
        assert _soft_dirty(child, address, size) == (True, False)


def _soft_dirty(child: Child, address: int, size: int) -> tuple[bool, bool]:
    """Tell of a page and of its neighbour what both the entry and pagemap say."""
    both = []
    for at in (address, address + size):
        found = agree(at, size, child.pid).iloc[0]
        assert (found["state"], found["size"]) == ("present", size)
        assert bool(found["soft_dirty"]) == bool(int(words(at, PAGE, child.pid)[0]) & SOFT_DIRTY)
        both.append(bool(found["soft_dirty"]))
    return both[0], both[1]


def test_new_region_is_soft_dirty_as_a_whole_in_pagemap_but_not_in_entries(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    assert read(address) == 0
    assert "sd" in vm_flags(address)
    assert not agree(address).iloc[0]["soft_dirty"]
    assert int(words(address)[0]) & SOFT_DIRTY
