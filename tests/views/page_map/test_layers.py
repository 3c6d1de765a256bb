"""The part of a walk that a page map shows: what was asked for, and not all that an empty entry covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from conftest import forked
from mapped_entries import PAGE

import pte_magic
from pte_magic.linux.address_space import AddressSpace
from pte_magic.text import units

if TYPE_CHECKING:
    from handmade import NewMap


def test_a_map_is_of_the_target_and_not_of_all_that_an_empty_entry_covers(new_map: NewMap) -> None:
    address = new_map(64 << 20)
    first, end = address + 5 * PAGE, address + (40 << 20)
    view = pte_magic.walk(first, end).map()
    assert f", {units.size(end - first)}, {first:#014x}-{end:#014x}, " in view.layer["summary"]
    assert len(view.frame) == view.count
    assert int(view.frame["size"].sum()) > end - first  # its rows are those of the walk


def test_a_map_of_a_whole_process_is_of_its_regions(new_map: NewMap) -> None:
    address = new_map(16 * PAGE)
    with forked() as child, AddressSpace(child.pid) as space:
        view = pte_magic.walk("all", pid=child.pid).map()
        regions = space.regions()
    own = [region for region in regions if region.end <= 1 << 47]  # the last one is the kernel's
    assert f", {own[0].start:#014x}-{own[-1].end:#014x}, " in view.layer["summary"]
    first = view.frame["vaddr"].to_numpy()
    last = first + view.frame["size"].to_numpy() - np.uint64(1)
    starts, ends = (np.array(edges, np.uint64) for edges in zip(*((each.start, each.end) for each in own), strict=True))
    assert (np.searchsorted(ends, first, side="right") < np.searchsorted(starts, last, side="right")).all()
    assert ((first <= address) & (last >= address)).any()
