"""Differences in words, of what only a machine of one's own does: swapping, merging, marking what is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import forked, only_on, rows, walked
from differences import told
from handmade import (
    FIXED,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PAGE_WORDS,
    PTES,
    READ,
    SHARED,
    libc,
    madvise,
    pfn,
    read,
    write,
)
from merging import MERGEABLE, merging
from swapping import fill, page_out, swap_off, swap_on, zram
from waiting import wait_until

from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handmade import NewMap


DEVICE = {"arm64": "Device-nGnRE"}.get(hardware.machine(), "UC-")  # pgprot_device() of pci_mmap_resource_range()


@pytest.fixture
def _swap() -> Iterator[None]:
    with zram("64M") as device:
        swap_on(device, priority=100)
        yield
        swap_off(device)


@pytest.mark.usefixtures("_swap")
def test_swapped_out_and_in_again(new_map: NewMap) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    fill(address, 4)
    before = rows(address, 4 * PAGE)
    page_out(address + PAGE, PAGE)
    between = rows(address, 4 * PAGE)
    assert told(before.diff(between)) == {address + PAGE: {"swapped out"}}
    assert read(address + PAGE) == 2
    found = between.diff(rows(address, 4 * PAGE))
    assert found["vaddr"].tolist() == [address + PAGE]
    assert "swapped in" in found["change"][0].split(", ")
    assert found["pfn_after"].tolist() == [pfn(address + PAGE)]


@pytest.mark.usefixtures("_swap")
def test_swapped_out_before_it_was_looked_at(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    before = rows(address, 2 * PAGE)
    fill(address, 1)
    page_out(address, PAGE)
    assert told(before.diff(rows(address, 2 * PAGE))) == {address: {"mapped to swap"}}


@pytest.mark.usefixtures("_swap")
def test_shared_in_swap_by_a_fork_and_alone_in_another_place_later(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    fill(address, 1)
    page_out(address)
    before = rows(address)
    with forked():
        between = rows(address)
    assert told(before.diff(between)) == {address: {"shared in swap"}}
    with zram("64M") as second:
        swap_on(second, priority=200)  # from now on, pages go there
        write(address, value=2)
        page_out(address)
        after = rows(address)
        swap_off(second)
    assert told(between.diff(after)) == {address: {"other place in swap", "exclusive in swap"}}


@pytest.mark.usefixtures("_swap")
def test_a_huge_page_swapped_out(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    write(address, HUGE, value=7)
    before = rows(address, HUGE)
    assert before["size"].tolist() == [HUGE]
    page_out(address, HUGE)
    found = before.diff(rows(address, HUGE))
    assert len(found) == PTES
    assert {"swapped out", f"became {PAGE_WORDS}"} <= set(found["change"][0].split(", "))


def test_merged_until_one_is_written(new_map: NewMap) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(address, 4 * PAGE, value=99)
    before = rows(address, 4 * PAGE)
    madvise(address, 4 * PAGE, MERGEABLE)
    with merging():
        wait_until(lambda: len({pfn(address + page * PAGE) for page in range(4)}) == 1)
        between = rows(address, 4 * PAGE)
        words = told(before.diff(between))
        assert all("write-protected" in said for said in words.values())
        assert sum("new page frame" in said for said in words.values()) >= 3  # one may be the frame that all have now
        write(address + PAGE)
        found = between.diff(rows(address, 4 * PAGE))
        assert found["vaddr"].tolist() == [address + PAGE]
        assert {"new page frame", "made writable"} <= set(found["change"][0].split(", "))


def test_memory_of_a_device_in_the_place_of_a_page(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    before = rows(address)
    resources = sorted(Path("/sys/bus/pci/devices").glob("*/resource[0-5]"))
    assert resources
    for resource in resources:
        fd = os.open(resource, os.O_RDWR)
        mapped = libc.mmap(address, PAGE, READ, SHARED | FIXED, fd, 0)
        os.close(fd)
        if mapped == address:  # not of ports
            break
    found = told(before.diff(rows(address)))[address]
    assert {"new page frame", f"memory type {DEVICE}"} <= found


@only_on("x86_64", "soft-dirty bits")
def test_soft_dirty_is_cleared_and_set(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    write(address, 2 * PAGE)
    with forked(lambda: write(address, 2 * PAGE), lambda: write(address)) as child, AddressSpace(child.pid) as space:
        child.step()  # they are its own now
        before = walked("bpf", space, address, address + 2 * PAGE)
        assert before["soft_dirty"].fillna(value=False).all()
        Path(f"/proc/{child.pid}/clear_refs").write_text("4", encoding="ascii")
        between = walked("bpf", space, address, address + 2 * PAGE)
        cleared = told(before.diff(between))
        assert list(cleared) == [address, address + PAGE]
        assert all({"no longer soft-dirty", "write-protected"} <= said for said in cleared.values())
        child.step()
        found = between.diff(walked("bpf", space, address, address + 2 * PAGE))
        assert found["vaddr"].tolist() == [address]
        assert {"made writable", "soft-dirty"} <= set(found["change"][0].split(", "))
