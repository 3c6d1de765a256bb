"""What holds for every walker, on every kind of memory, and where two sources must say the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from comparing import assert_equal, unchanged
from conftest import WALKERS, by_page, forked, needs_root, walked
from handmade import (
    ANONYMOUS,
    DONTNEED,
    GUARD_INSTALL,
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    PAGE,
    PM_PFN,
    PM_PRESENT,
    PM_SWAP,
    PRIVATE,
    PTES,
    READ,
    SHARED,
    WRITE,
    NewMap,
    madvise,
    mprotect,
    munmap,
    read,
    words,
    write,
)
from waiting import wait_until

from pte_magic import walkers
from pte_magic.errors import NoAddressSpaceError
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import join

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SIZE = 4 * HUGE


def untouched(new_map: NewMap, _: Path) -> int:
    return new_map(SIZE)


def written(new_map: NewMap, _: Path) -> int:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    write(address, SIZE)
    return address


def read_only_touched(new_map: NewMap, _: Path) -> int:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    assert read(address, SIZE) == 0
    return address


def partly_written(new_map: NewMap, _: Path) -> int:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    for page in (0, 1, 2, PTES - 1, PTES, PTES + 188, 2 * PTES + 276, 4 * PTES - 1):
        write(address + page * PAGE)
    read(address + 5 * PAGE)
    return address


def private_file(new_map: NewMap, tmp_path: Path) -> int:
    (tmp_path / "file").write_bytes(bytes(SIZE))
    with (tmp_path / "file").open("r+b") as file:
        address = new_map(SIZE, READ | WRITE, PRIVATE, file.fileno())
    read(address, SIZE // 2)
    write(address, 16 * PAGE)
    return address


def shared_file(new_map: NewMap, tmp_path: Path) -> int:
    (tmp_path / "file").write_bytes(bytes(SIZE))
    with (tmp_path / "file").open("r+b") as file:
        address = new_map(SIZE, READ | WRITE, SHARED, file.fileno())
    write(address + HUGE, HUGE)
    return address


def shared_anonymous(new_map: NewMap, _: Path) -> int:
    address = new_map(SIZE, flags=SHARED | ANONYMOUS)
    write(address + HUGE // 2, HUGE)
    return address


def memfd(new_map: NewMap, _: Path) -> int:
    fd = os.memfd_create("test")
    try:
        os.ftruncate(fd, SIZE)
        address = new_map(SIZE, READ | WRITE, SHARED, fd)
    finally:
        os.close(fd)
    write(address, 3 * PAGE)
    return address


def huge(new_map: NewMap, _: Path) -> int:
    address = new_map(SIZE, advice=HUGEPAGE)
    write(address, SIZE - HUGE)
    return address


def huge_and_split(new_map: NewMap, tmp_path: Path) -> int:
    address = huge(new_map, tmp_path)
    mprotect(address + HUGE + 5 * PAGE, 7 * PAGE, READ)
    madvise(address + 40 * PAGE, 3 * PAGE, DONTNEED)
    return address


def huge_zero(new_map: NewMap, _: Path) -> int:
    address = new_map(SIZE, advice=HUGEPAGE)
    read(address, SIZE)
    return address


def no_access(new_map: NewMap, tmp_path: Path) -> int:
    address = written(new_map, tmp_path)
    mprotect(address + 3 * PAGE, HUGE, NONE)
    return address


def guarded(new_map: NewMap, tmp_path: Path) -> int:
    address = written(new_map, tmp_path)
    try:
        madvise(address + 10 * PAGE, 4 * PAGE, GUARD_INSTALL)
    except OSError:
        pytest.skip("needs a kernel with MADV_GUARD_INSTALL (6.13)")
    return address


def with_a_hole(new_map: NewMap, tmp_path: Path) -> int:
    address = written(new_map, tmp_path)
    munmap(address + 100 * PAGE, HUGE + 17 * PAGE)
    return address


MEMORY = (
    untouched, written, read_only_touched, partly_written, private_file, shared_file, shared_anonymous, memfd, huge,
    huge_and_split, huge_zero, no_access, guarded, with_a_hole,
)  # fmt: skip
RANGES = ((0, SIZE), (PAGE, SIZE - PAGE), (3 * PAGE, 4 * PAGE), (-HUGE, SIZE + HUGE), (HUGE, 2 * HUGE), (-PAGE, PAGE))
"""What is walked, from its address on. Each memory is made once for all of them: that takes longer than the walks."""


@pytest.fixture(params=MEMORY, ids=[make.__name__ for make in MEMORY])
def address(request: pytest.FixtureRequest, new_map: NewMap, tmp_path: Path) -> int:
    make: Callable[[NewMap, Path], int] = request.param
    return make(new_map, tmp_path)


def test_entries_cover_the_range_in_order_without_gaps(walker: str, address: int) -> None:
    for start, end in RANGES:
        cover(walker, address + start, address + end)


def cover(walker: str, start: int, end: int) -> None:
    found = walkers.get(walker).walk(own(), start, end)
    spans = found.spans
    assert int(spans["count"].sum()) == len(found) == len(found.vaddr) == len(found.size) == len(found.level)
    assert (spans["count"] > 0).all()
    ends = spans["vaddr"] + spans["size"] * spans["count"]
    assert (spans["vaddr"][1:] == ends[:-1]).all()
    assert (found.vaddr[1:] == found.vaddr[:-1] + found.size[:-1]).all()
    assert found.vaddr[0] <= start < found.vaddr[0] + found.size[0]
    assert found.vaddr[-1] < end <= ends[-1]
    assert ((found.level >= -1) & (found.level < len(LEVELS))).all()


def at_rest(names: Sequence[str], start: int, end: int) -> tuple[list[dict[str, Any]], NDArray[np.uint64]]:
    """Return what walkers say, page by page, and pagemap's words, when the kernel moved no page meanwhile."""
    for _ in range(10):
        before = words(start, end - start)
        found = [by_page(walked(name, own(), start, end), start, end) for name in names]
        if (words(start, end - start) == before).all():
            return found, before
    pytest.fail("pages moved at ten attempts to look at them")


def test_every_page_is_as_proc_pagemap_says(walker: str, address: int) -> None:
    for start, end in RANGES[:4]:
        as_pagemap_says(walker, address + start, address + end)


def as_pagemap_says(walker: str, start: int, end: int) -> None:
    (found,), before = at_rest([walker], start, end)
    here, swapped = before & PM_PRESENT != 0, before & PM_SWAP != 0
    assert (np.isin(found["state"], ["present", "protnone"]) == here).all()
    assert ((found["state"] == "marker") == swapped).all()  # nothing was swapped out, so these are guards
    assert ((found["state"] == "none") == ~(here | swapped)).all()
    if os.geteuid() == 0:
        assert (found["pfn"][here] == (before[here] & np.uint64(PM_PFN)).astype(np.int64)).all()


@needs_root
@pytest.mark.usefixtures("helper")
def test_walkers_agree_on_what_both_know(address: int) -> None:
    for start, end in RANGES[:4]:
        agree(address + start, address + end)


def agree(start: int, end: int) -> None:
    (first, *others), _ = at_rest(WALKERS, start, end)
    for other in others:
        for name in ("state", "kind", "pfn", "swap_type", "swap_offset"):
            assert (first[name] == other[name]).all(), name
        for name in {"present", "soft_dirty", "uffd_wp"} & first.keys() & other.keys():
            known = (first[name] >= 0) & (other[name] >= 0)
            if name == "soft_dirty":  # pagemap says it of all pages of a new region, whatever their entries say
                known &= other[name] == 0
            assert (first[name][known] == other[name][known]).all(), name


@needs_root
@pytest.mark.usefixtures("helper")
def test_walkers_agree_on_every_region_of_a_process_at_rest() -> None:
    # cat waits for input when it has given back its first line; then nothing of its memory changes. Not before, it is
    # sure to have an address space of its own: on 6.1 Popen was seen to return when /proc/PID/exe was still Python's.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"up\n")
        assert process.stdout.read(3) == b"up\n"
        wait_until(lambda: " (cat) S " in Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8"))
        with AddressSpace(process.pid) as space:
            for region in space.regions():
                # pagemap does not look into pages without a struct page, such as the clock's.
                if region.start >= hardware.user_limit() or region.name.startswith("[vvar"):
                    continue
                first, *others = (
                    by_page(walked(name, space, region.start, region.end), region.start, region.end) for name in WALKERS
                )
                told = words(region.start, region.end - region.start, process.pid)
                here = told & PM_PRESENT != 0
                assert (np.isin(first["state"], ["present", "protnone"]) == here).all(), region
                assert (first["pfn"][here] == (told[here] & np.uint64(PM_PFN)).astype(np.int64)).all(), region
                for name in ("state", "kind", "pfn", "swap_type", "swap_offset"):
                    assert all((first[name] == other[name]).all() for other in others), region
        process.stdin.close()


@pytest.mark.usefixtures("level_walker")
def test_huge_pages_are_rows_of_their_own_size_in_all_walkers(walker: str, new_map: NewMap, tmp_path: Path) -> None:
    address = huge_and_split(new_map, tmp_path)
    found = walked(walker, own(), address, address + SIZE)
    present = found[found["state"] == "present"]
    assert present.groupby("size").size().to_dict() == {PAGE: 2 * PTES - 3, HUGE: 1}
    assert set(present["level"][present["size"] == HUGE]) == {HUGE_LEVEL}
    assert set(present["level"][present["size"] == PAGE]) == {"pte"}


def test_joined_entries_are_the_walks_one_after_the_other(walker: str, new_map: NewMap, tmp_path: Path) -> None:
    address = partly_written(new_map, tmp_path)
    ranges = [(address, address + 3 * PAGE), (address + HUGE, address + 2 * HUGE)]
    parts = [walkers.get(walker).walk(own(), *part) for part in ranges]
    joined = join(parts)
    for name in ("entry", "vaddr", "size", "level"):
        assert (getattr(joined, name) == np.concatenate([getattr(part, name) for part in parts])).all()


def test_chunks_joined_are_the_walk(walker: str, address: int) -> None:
    for start, end in RANGES:
        chunks_are_the_walk(walker, address + start, address + end)


def chunks_are_the_walk(walker: str, start: int, end: int) -> None:
    asked = walkers.get(walker)
    whole, pieces = unchanged(lambda: asked.walk(own(), start, end), lambda: list(asked.chunks(own(), start, end)))
    assert_equal(join(pieces), whole)


def test_nothing_has_no_chunks(walker: str) -> None:
    asked = walkers.get(walker)
    assert list(asked.chunks(own(), PAGE, PAGE)) == []
    if walker == "pagemap":
        assert len(asked.walk(own(), PAGE, PAGE)) == 0


def test_chunks_end_when_the_process_does(walker: str) -> None:
    with forked() as child:
        space = AddressSpace(child.pid)
    with space, pytest.raises(NoAddressSpaceError):
        list(walkers.get(walker).chunks(space, 0, hardware.user_limit()))
