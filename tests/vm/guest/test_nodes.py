"""Memory of two nodes: page frames are those of the node where the kernel says that a page is."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from agreement import agree, vm_flags
from conftest import forked, walked
from handmade import ANONYMOUS, HUGE, HUGE_LEVEL, HUGEPAGE, NOHUGEPAGE, PAGE, SHARED, NewMap, prefer_nodes, read, write
from numa import bind, move, nodes, nodes_of_frames

from pte_magic.formats import features, kernel
from pte_magic.linux.address_space import AddressSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = 64
SYSCTL = Path("/proc/sys/kernel/numa_balancing")
KNOBS = Path("/sys/kernel/debug/sched/numa_balancing")


def numa_maps(address: int, pid: int | str = "self") -> dict[int, int]:
    """Return how many pages of a region are on each node."""
    lines = Path(f"/proc/{pid}/numa_maps").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{address:x} "))
    return {int(node): int(pages) for node, pages in re.findall(r" N(\d+)=(\d+)", line)}


@pytest.mark.parametrize("node", [0, 1])
@pytest.mark.parametrize("how", ["bind", "move"])
def test_frames_are_those_of_the_node(new_map: NewMap, how: str, node: int) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    bind(address, PAGES * PAGE, node if how == "bind" else 1 - node)
    write(address, PAGES * PAGE)
    if how == "move":
        assert set(move(address, PAGES, node)) == {node}
    found = agree(address, PAGES * PAGE)
    assert nodes_of_frames(found["pfn"]) == set(nodes(address, PAGES)) == {node}
    assert numa_maps(address) == {node: PAGES}


def test_huge_page_is_moved_in_one_piece(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    bind(address, HUGE, 0)
    write(address, HUGE)
    for node in (1, 0):
        assert move(address, 1, node) == [node]
        found = agree(address, HUGE)
        assert list(found["level"]) == [HUGE_LEVEL]
        assert nodes_of_frames(found["pfn"]) == {node}


@contextmanager
def balancing() -> Iterator[None]:
    """Have the kernel look which node uses a page, soon and often."""
    wanted = {SYSCTL: "1", KNOBS / "scan_delay_ms": "20", KNOBS / "scan_period_min_ms": "20"}
    before = {path: path.read_text(encoding="ascii") for path in wanted}
    try:
        for path, value in wanted.items():
            path.write_text(value, encoding="ascii")
        for cached in (kernel.running, features.running):
            cached.cache_clear()
        yield
    finally:
        for path, value in before.items():
            path.write_text(value, encoding="ascii")
        for cached in (kernel.running, features.running):
            cached.cache_clear()


def vmstat(name: str) -> int:
    lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_page_that_numa_balancing_watches_looks_as_if_without_access(new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    stop = new_map(PAGE, flags=SHARED | ANONYMOUS)

    def compute_on_node_0() -> None:
        prefer_nodes(0)  # MPOL_DEFAULT: the tests' policy is not to be watched
        os.sched_setaffinity(0, {0})
        write(address, PAGES * PAGE)
        assert set(move(address, PAGES, 1)) == {1}  # what is near is not watched
        while not read(stop):
            pass

    with balancing(), forked(compute_on_node_0, lambda: read(address, PAGES * PAGE)) as child:
        changed, faults = vmstat("numa_pte_updates"), vmstat("numa_hint_faults")
        with ThreadPoolExecutor(1) as pool, AddressSpace(child.pid) as space:
            computing = pool.submit(child.step)
            try:
                until = time.monotonic() + 60
                while set(walked("bpf", space, address, address + PAGES * PAGE)["state"]) != {"protnone"}:
                    assert time.monotonic() < until
            finally:
                write(stop)
            computing.result()
        found = agree(address, PAGES * PAGE, child.pid)
        assert set(found["state"]) == {"protnone"}
        assert nodes_of_frames(found["pfn"]) == {1}
        assert numa_maps(address, child.pid) == {1: PAGES}
        assert {"rd", "wr"} <= vm_flags(address, child.pid)
        assert vmstat("numa_pte_updates") - changed >= PAGES

        assert child.step() == PAGES
        assert vmstat("numa_hint_faults") > faults
        assert set(agree(address, PAGES * PAGE, child.pid)["state"]) == {"present"}
