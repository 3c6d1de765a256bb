"""What `frames()` tells of memory that only a guest has: of two nodes, merged, of hugetlb, of a group of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from agreement import kpageflags
from conftest import forked
from groups import memory_group, own_group
from handmade import (
    ANONYMOUS,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PRIVATE,
    SHARED,
    NewMap,
    hugetlb,
    madvise,
    munmap,
    pfn,
    read,
    write,
)
from merging import KSM, MERGEABLE, UNMERGEABLE, merging
from numa import bind, move, nodes
from pools import pool
from waiting import wait_until

import pte_magic

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = 16
KPF_KSM = 1 << 21
GROUPS = "/sys/fs/cgroup"


def seen(address: int, size: int) -> pte_magic.PteFrame:
    return pte_magic.walk(address, address + size).frames()


@pytest.mark.parametrize("node", [0, 1])
def test_node_is_where_memory_was_bound_to(new_map: NewMap, node: int) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    bind(address, PAGES * PAGE, node)
    write(address, PAGES * PAGE)
    assert seen(address, PAGES * PAGE)["node"].tolist() == nodes(address, PAGES) == [node] * PAGES


def test_node_of_each_page_and_of_a_huge_one_that_is_moved(new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(address, PAGES * PAGE)
    move(address, PAGES, 0)
    move(address, PAGES // 2, 1)
    assert seen(address, PAGES * PAGE)["node"].tolist() == nodes(address, PAGES) == [1] * 8 + [0] * 8

    huge = new_map(HUGE, advice=HUGEPAGE)
    bind(huge, HUGE, 0)
    write(huge, HUGE)
    for node in (1, 0):
        assert move(huge, 1, node) == [node]
        found = seen(huge, HUGE)
        assert found[["size", "node"]].to_numpy().tolist() == [[HUGE, node]]
        assert found["kpf_thp"].all()


def test_a_merged_page_is_counted_as_often_as_it_is_mapped(new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(address, PAGES * PAGE, value=77)
    # Kernels from 6.10 on set the flag for all anonymous pages, until that was mended.
    tells = not kpageflags(pfn(address)) & KPF_KSM

    def is_merged() -> set[object]:
        return set(seen(address, PAGES * PAGE)["kpf_ksm"].astype(object))

    assert is_merged() == {False if tells else pd.NA}
    with merging():
        madvise(address, PAGES * PAGE, MERGEABLE)
        wait_until(lambda: int((KSM / "pages_sharing").read_text(encoding="ascii")) >= PAGES - 1)
        assert is_merged() == {True if tells else pd.NA}
        assert seen(address, PAGES * PAGE)["map_count"].tolist() == [PAGES] * PAGES
        madvise(address, PAGES * PAGE, UNMERGEABLE)
    assert is_merged() == {False if tells else pd.NA}
    assert seen(address, PAGES * PAGE)["map_count"].tolist() == [1] * PAGES


def test_a_page_of_hugetlb(new_map: NewMap) -> None:
    with pool():
        address = new_map(HUGE, flags=PRIVATE | ANONYMOUS | hugetlb())
        write(address, 1)
        found = seen(address, HUGE)
        assert found["size"].tolist() == [HUGE]
        assert found[["kpf_huge", "kpf_compound_head", "kpf_anon", "kpf_mmap"]].all(axis=None)
        assert not found["kpf_thp"].any()
        assert found["map_count"].tolist() == [1]
        with forked():
            assert seen(address, HUGE)["map_count"].tolist() == [2]
        munmap(address, HUGE)


@pytest.fixture
def _groups() -> Iterator[None]:
    """Mount the hierarchy of version 2, which nobody else in a guest uses; groups in it account for memory."""
    subprocess.run(["mount", "-t", "cgroup2", "none", GROUPS], check=True)
    control = Path(GROUPS, "cgroup.subtree_control")
    control.write_text("+memory", encoding="ascii")
    yield
    control.write_text("-memory", encoding="ascii")
    subprocess.run(["umount", GROUPS], check=True)


@pytest.mark.usefixtures("_groups")
def test_memory_is_charged_to_who_touched_it_first(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, flags=SHARED | ANONYMOUS)
    with memory_group() as group:

        def enter_and_write() -> None:
            group.enter()
            write(address)

        with forked(enter_and_write) as child:
            child.step()
            write(address + PAGE)
            read(address)
            assert seen(address, 2 * PAGE)["cgroup"].tolist() == [group.path, own_group()]
