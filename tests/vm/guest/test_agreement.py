"""On every kernel of the lab the walkers say the same of every state of memory, and it is what pagemap says."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import (
    ANONYMOUS,
    HUGEPAGE,
    HUGETLB,
    MIB2,
    NOHUGEPAGE,
    NONE,
    PAGE,
    PAGEOUT,
    PM_PFN,
    PM_PRESENT,
    PM_SWAP,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    NewMap,
    by_page,
    madvise,
    mprotect,
    smaps,
    walked,
    words,
    write,
)

from pte_magic import walkers
from pte_magic.space import own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WALKERS = ("bpf", "pagemap")
SIZE = 2 * MIB2


@pytest.fixture(scope="module")
def swap_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of 64 MiB to swap to, on a disk of its own: a file system in memory cannot have one."""
    place = tmp_path_factory.mktemp("disk")
    subprocess.run(["mkfs.ext4", "-q", "/dev/vdb"], check=True)
    subprocess.run(["mount", "/dev/vdb", place], check=True)
    file = place / "swap"
    subprocess.run(["fallocate", "--length", "64M", file], check=True)
    file.chmod(0o600)
    subprocess.run(["mkswap", "--quiet", file], check=True)
    subprocess.run(["swapon", file], check=True)
    yield file
    subprocess.run(["swapoff", file], check=True)
    subprocess.run(["umount", place], check=True)


def untouched(new_map: NewMap) -> int:
    return new_map(SIZE)


def written(new_map: NewMap) -> int:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    write(address, SIZE)
    return address


def huge(new_map: NewMap) -> int:
    address = new_map(SIZE, advice=HUGEPAGE)
    write(address, SIZE)
    assert smaps(address, "AnonHugePages") == SIZE
    return address


def no_access(new_map: NewMap) -> int:
    address = written(new_map)
    mprotect(address + 3 * PAGE, MIB2, NONE)
    return address


def no_access_to_huge(new_map: NewMap) -> int:
    address = huge(new_map)
    mprotect(address, MIB2, NONE)
    return address


def memfd(new_map: NewMap) -> int:
    fd = os.memfd_create("test")
    try:
        os.ftruncate(fd, SIZE)
        address = new_map(SIZE, READ | WRITE, SHARED, fd)
    finally:
        os.close(fd)
    write(address, 3 * PAGE)
    return address


def hugetlb(new_map: NewMap) -> int:
    address = new_map(SIZE, flags=PRIVATE | ANONYMOUS | HUGETLB)
    write(address, MIB2)
    return address


MEMORY = (untouched, written, huge, no_access, no_access_to_huge, memfd, hugetlb)


def agree(address: int, size: int = SIZE) -> set[str]:
    """Compare all walkers with each other and with pagemap, page by page; return the states that there are."""
    start, end = address - PAGE, address + size + PAGE
    told = words(start, end - start)
    first, *others = (by_page(walked(name, own(), start, end), start, end) for name in WALKERS)
    here, swapped = told & PM_PRESENT != 0, told & PM_SWAP != 0
    place = (told & np.uint64(PM_PFN)).astype(np.int64)
    assert (words(start, end - start) == told).all()
    assert (np.isin(first["state"], ["present", "protnone"]) == here).all()
    assert ((first["state"] == "swap") == swapped).all()
    assert (first["pfn"][here] == place[here]).all()
    assert (first["swap_type"][swapped] == place[swapped] & 31).all()
    assert (first["swap_offset"][swapped] == place[swapped] >> 5).all()
    for other in others:
        for name in ("state", "kind", "pfn", "swap_type", "swap_offset"):
            assert (first[name] == other[name]).all(), name
        for name in ("present", "soft_dirty", "uffd_wp"):
            known = (first[name] >= 0) & (other[name] >= 0)
            assert (first[name][known] == other[name][known]).all(), name
    return set(first["state"])


def test_all_walkers_work_here() -> None:
    for name in WALKERS:
        assert walkers.get(name).name == name


@pytest.mark.parametrize("make", MEMORY, ids=[make.__name__ for make in MEMORY])
def test_walkers_agree_with_pagemap(make: Callable[[NewMap], int], new_map: NewMap) -> None:
    states = agree(make(new_map))
    assert ("present" in states) == (make is not untouched)
    assert ("protnone" in states) == make.__name__.startswith("no_access")


def test_walkers_agree_on_pages_in_a_swap_file(new_map: NewMap, swap_file: Path) -> None:
    assert f"{swap_file} " in Path("/proc/swaps").read_text(encoding="utf-8")
    address = written(new_map)
    until = time.monotonic() + 60
    while not (words(address, MIB2) & PM_SWAP).all():  # a page that a CPU still holds stays
        assert time.monotonic() < until, "MADV_PAGEOUT left pages in memory"
        madvise(address, MIB2, PAGEOUT)
    assert agree(address) == {"none", "swap", "present"}


@pytest.mark.parametrize("make", [huge, hugetlb])
def test_page_of_2_mib_is_one_entry(make: Callable[[NewMap], int], new_map: NewMap) -> None:
    address = make(new_map)
    entry = walked("bpf", own(), address, address + MIB2)
    assert list(entry["size"]) == [MIB2]
    assert list(entry["level"]) == ["pmd"]
