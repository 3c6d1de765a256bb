"""What the kernel tells of page frames: against memory made in a known way, and against one read a page."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import NOBODY, descriptors, forked, needs_root, python
from groups import memory_group, own_group
from handmade import ANONYMOUS, NOHUGEPAGE, PAGE, PM_PFN, READ, SHARED, pfn, read, words, write
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.linux import memory_cgroups, page_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from handmade import NewMap
    from numpy.typing import NDArray

PAGES = 64
FILES: dict[str, Callable[[NDArray[np.uint64]], page_frames.Told]] = {
    "kpageflags": page_frames.flags,
    "kpagecount": page_frames.map_count,
    "kpagecgroup": page_frames.cgroup,
}
NOWHERE = 1 << 39  # a page frame that no machine has


def names(frame: int) -> set[str]:
    """Return the names of the flags of a page frame."""
    (value,), (missing,) = page_frames.flags(np.array([frame], np.uint64))
    assert not missing
    return {name for name, bit in page_frames.FLAGS.items() if int(value) >> bit & 1}


def count(frame: int) -> int:
    return int(page_frames.map_count(np.array([frame], np.uint64)).values[0])


def one_by_one(name: str, frames: list[int]) -> list[int | None]:
    """Read a word a page."""
    fd = os.open(f"/proc/{name}", os.O_RDONLY)
    try:
        found = [os.pread(fd, 8, frame * 8) for frame in frames]
    finally:
        os.close(fd)
    return [int.from_bytes(word, "little") if word else None for word in found]


def told(name: str, frames: list[int]) -> list[int | None]:
    values, missing = FILES[name](np.array(frames, np.uint64))
    assert not values[missing].any()
    return [None if absent else int(value) for value, absent in zip(values, missing, strict=True)]


@pytest.fixture(scope="module")
def frames() -> Iterator[list[int]]:
    """The page frames of memory of this process that nobody else uses, by groups that are here and there."""
    with mmap.mmap(-1, 1024 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        pages = np.frombuffer(memory, np.uint8)
        pages[::PAGE] = 1
        yield [int(word) & PM_PFN for word in words(pages.ctypes.data, len(pages))]
        del pages


@needs_root
@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
def test_reading_in_bulk_is_reading_page_by_page(name: str, frames: list[int], data: st.DataObject) -> None:
    near = st.builds(lambda at, plus: frames[at] + plus, st.integers(0, len(frames) - 1), st.integers(0, 40))
    asked = data.draw(st.lists(near | st.integers(0, (1 << 20) - 1) | st.integers(NOWHERE, (1 << 52) - 1), max_size=60))
    for _ in range(100):  # others use memory, too
        before, found, after = one_by_one(name, asked), told(name, asked), one_by_one(name, asked)
        if before == after:
            break
    else:
        pytest.fail("these frames are never at rest")
    if name == "kpagecgroup":  # where a group's inode is 0, there is no group
        before = [inode or None for inode in before]
    assert found == before


@needs_root
def test_frames_past_the_end_of_memory_are_missing(physical_limit: int) -> None:
    past = physical_limit + (1 << 20)  # the kernel rounds memory up
    for name in FILES:
        assert told(name, [past, NOWHERE, (1 << 64) - 1]) == [None] * 3
        assert told(name, []) == []
    missing = page_frames.node(np.array([NOWHERE, (1 << 64) - 1, 0], np.uint64)).missing
    assert missing.tolist() == [True, True, False]


@needs_root
def test_private_memory_is_anonymous_and_counts_who_forked(new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(address, PAGES * PAGE)
    frame = pfn(address)
    assert names(frame) >= {"mmap", "anon", "swapbacked", "uptodate"}
    assert not names(frame) & {"zero_page", "ksm", "huge", "nopage", "slab", "buddy", "compound_tail"}
    for children in range(4):
        with contextlib.ExitStack() as stack:
            for _ in range(children):
                stack.enter_context(forked())
            assert count(frame) == children + 1


@needs_root
def test_shared_memory_counts_who_touched_it(new_map: NewMap) -> None:
    address = new_map(PAGE, flags=SHARED | ANONYMOUS)
    write(address)
    frame = pfn(address)
    assert "anon" not in names(frame)
    with forked(lambda: read(address)) as first, forked(lambda: read(address)) as second:
        for at, child in enumerate((first, second)):
            child.step()
            assert count(frame) == at + 2


@needs_root
def test_page_of_a_file_is_not_anonymous(new_map: NewMap, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * PAGE)
    with path.open("rb") as file:
        address = new_map(PAGE, READ, SHARED, file.fileno())
    read(address)
    assert names(pfn(address)) >= {"mmap", "uptodate"}
    assert not names(pfn(address)) & {"anon", "zero_page"}
    assert count(pfn(address)) == 1


@needs_root
def test_zero_page(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    read(address)
    assert "zero_page" in names(pfn(address))
    assert count(pfn(address)) == 0
    write(address)
    assert "zero_page" not in names(pfn(address))
    assert count(pfn(address)) == 1


@needs_root
def test_memory_is_charged_to_the_group_of_who_touched_it_first(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, flags=SHARED | ANONYMOUS, advice=NOHUGEPAGE)
    write(address)
    with memory_group() as group:

        def enter_and_write() -> None:
            group.enter()
            write(address + PAGE)

        with forked(enter_and_write) as child:
            child.step()
            read(address + PAGE)
            frames = np.array([pfn(address), pfn(address + PAGE)], np.uint64)
            inodes, missing = page_frames.cgroup(frames)
            assert not missing.any()
            paths = memory_cgroups.paths(inodes.tolist())
            assert [paths[inode] for inode in inodes.tolist()] == [own_group(), group.path]
            assert inodes[1] == group.directory.stat().st_ino
        assert memory_cgroups.paths([int(inodes[1])]) == {int(inodes[1]): group.path}
    assert memory_cgroups.paths([int(inodes[1])]) == {}
    assert memory_cgroups.paths([]) == {}


@needs_root
def test_node_is_that_of_numa_maps(new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(address, PAGES * PAGE)
    lines = Path("/proc/self/numa_maps").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{address:x} "))
    expected = {int(node): int(pages) for node, pages in re.findall(r" N(\d+)=(\d+)", line)}
    values, missing = page_frames.node(words(address, PAGES * PAGE) & np.uint64(PM_PFN))
    assert not missing.any()
    assert {
        int(node): int(pages) for node, pages in zip(*np.unique(values, return_counts=True), strict=True)
    } == expected


@needs_root
def test_without_privilege_only_the_node_is_told() -> None:
    code = """
import numpy as np
from pte_magic.linux import page_frames as physical
frames = np.array([256, 257], np.uint64)
told = (ask(frames) for ask in (physical.flags, physical.map_count, physical.cgroup, physical.node))
print(json.dumps([missing.tolist() for _, missing in told]))
"""
    assert json.loads(python(code, user=NOBODY)) == [[True, True]] * 3 + [[False, False]]


@needs_root
def test_no_descriptor_is_left(frames: list[int]) -> None:
    before = descriptors()
    for name in FILES:
        told(name, frames)
    memory_cgroups.paths([1])
    assert descriptors() == before
