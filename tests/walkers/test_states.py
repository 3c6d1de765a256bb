"""States that were made for real: what was done to a page is what its entry must say."""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import (
    ANONYMOUS,
    COLLAPSE,
    DONTNEED,
    EXEC,
    GIB,
    GUARD_INSTALL,
    HUGEPAGE,
    HUGETLB,
    MIB2,
    NOHUGEPAGE,
    NONE,
    PAGE,
    PAGEOUT,
    PM_FILE,
    PM_GUARD,
    PM_PFN,
    PM_PRESENT,
    PM_SWAP,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    NewMap,
    forked,
    libc,
    madvise,
    mprotect,
    munmap,
    needs_root,
    pfn,
    read,
    smaps,
    walked,
    words,
    write,
)

from pte_magic.space import AddressSpace, own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.frame import PteFrame

pytestmark = needs_root


def rows(address: int, size: int = PAGE, name: str = "bpf") -> PteFrame:
    return walked(name, own(), address, address + size)


def entry(address: int, pid: int | None = None) -> Any:  # noqa: ANN401  (a row: values of many types)
    """Return the one raw entry at an address, decoded."""
    if pid is None:
        return rows(address).iloc[0]
    with AddressSpace(pid) as space:
        return walked("bpf", space, address, address + PAGE).iloc[0]


def resident(address: int) -> bool:
    """Ask mincore(2)."""
    told = (ctypes.c_ubyte * 1)()
    assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), told) == 0
    return bool(told[0] & 1)


def test_written_page_is_present_dirty_accessed_writable(new_map: NewMap) -> None:
    address = new_map(4 * PAGE)
    write(address)
    found = entry(address)
    assert found["state"] == "present"
    assert found[["present", "rw", "user", "accessed", "dirty", "nx"]].all()
    assert not found[["special", "global", "uffd_wp"]].any()
    assert (found["level"], found["size"], found["cache"], found["pkey"]) == ("pte", PAGE, "WB", 0)
    assert found["pfn"] == pfn(address)
    assert resident(address)


def test_untouched_page_is_none(walker: str, new_map: NewMap) -> None:
    address = new_map(4 * PAGE)
    found = rows(address, 4 * PAGE, walker)
    assert list(found["state"].unique()) == ["none"]
    assert found["pfn"].isna().all()
    assert not resident(address)


def test_page_made_read_only_is_not_writable_but_still_dirty(new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    before = pfn(address)
    mprotect(address, PAGE, READ)
    found = entry(address)
    assert (found["present"], found["rw"], found["pfn"]) == (True, False, before)
    assert found["dirty"] or found["saved_dirty"]


def test_page_without_access_is_protnone_and_keeps_its_frame(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    before = pfn(address)
    mprotect(address, PAGE, NONE)
    found = rows(address, name=walker).iloc[0]
    assert (found["state"], found["present"], found["pfn"]) == ("protnone", False, before)


def test_fresh_pages_that_were_read_are_one_special_zero_page(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    assert read(address, 2 * PAGE) == 0
    first, second = entry(address), entry(address + PAGE)
    assert first["special"]
    assert not first["rw"]
    assert first["pfn"] == second["pfn"] == pfn(address) == pfn(address + PAGE)
    write(address + PAGE)
    after = entry(address + PAGE)
    assert (after["special"], after["rw"]) == (False, True)
    assert after["pfn"] == pfn(address + PAGE) != first["pfn"]


@pytest.mark.parametrize("protection", [READ | WRITE, READ | EXEC, READ | WRITE | EXEC])
def test_nx_is_the_opposite_of_exec(new_map: NewMap, protection: int) -> None:
    address = new_map(PAGE)
    write(address)
    mprotect(address, PAGE, protection)
    assert entry(address)["nx"] == (not protection & EXEC)


def test_fork_shares_frames_read_only_until_one_writes(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    before = pfn(address)
    with forked(lambda: None, lambda: write(address, value=2)) as child:
        child.step()
        with AddressSpace(child.pid) as space:
            theirs = walked(walker, space, address, address + PAGE).iloc[0]
            ours = rows(address, name=walker).iloc[0]
            assert ours["pfn"] == theirs["pfn"] == before == pfn(address, child.pid)
            if walker == "bpf":
                assert (ours["rw"], theirs["rw"]) == (False, False)
            child.step()
            theirs = walked(walker, space, address, address + PAGE).iloc[0]
        ours = rows(address, name=walker).iloc[0]
        assert ours["pfn"] == before
        assert theirs["pfn"] == pfn(address, child.pid) != before
        if walker == "bpf":
            assert (ours["rw"], theirs["rw"]) == (False, True)
    assert read(address) == 1


def test_dropped_page_is_none(walker: str, new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    write(address, 2 * PAGE)
    madvise(address, PAGE, DONTNEED)
    assert list(rows(address, 2 * PAGE, walker)["state"]) == ["none", "present"]
    assert not words(address)[0] & (PM_PRESENT | PM_SWAP)


def test_guard_page_is_a_marker(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGE)
    try:
        madvise(address, PAGE, GUARD_INSTALL)
    except OSError:
        pytest.skip("needs a kernel with MADV_GUARD_INSTALL (6.13)")
    found = rows(address, name=walker).iloc[0]
    assert (found["state"], found["kind"]) == ("marker", "guard")
    assert words(address)[0] & PM_GUARD


def test_two_maps_of_one_file_show_one_frame(walker: str, new_map: NewMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * PAGE)
    with (tmp_path / "file").open("r+b") as file:
        shared = new_map(PAGE, READ | WRITE, SHARED, file.fileno())
        private = new_map(PAGE, READ | WRITE, PRIVATE, file.fileno())
    assert read(shared) == read(private) == ord("x")
    first, second = (rows(at, name=walker).iloc[0] for at in (shared, private))
    assert first["pfn"] == second["pfn"] == pfn(shared)
    assert words(shared)[0] & PM_FILE
    if walker == "pagemap":
        assert first["file"]
        assert second["file"]
    write(private)
    assert rows(private, name=walker).iloc[0]["pfn"] == pfn(private) != pfn(shared)


@pytest.mark.parametrize("kind", ["anonymous", "memfd"])
def test_shared_memory_stays_one_frame_after_fork_and_write(walker: str, new_map: NewMap, kind: str) -> None:
    if kind == "memfd":
        fd = os.memfd_create("test")
        os.ftruncate(fd, PAGE)
        address = new_map(PAGE, READ | WRITE, SHARED, fd)
        os.close(fd)
    else:
        address = new_map(PAGE, flags=SHARED | ANONYMOUS)
    write(address)
    before = pfn(address)
    with forked(lambda: write(address, value=7)) as child:
        child.step()
        with AddressSpace(child.pid) as space:
            found = walked(walker, space, address, address + PAGE).iloc[0]
    assert found["pfn"] == before == rows(address, name=walker).iloc[0]["pfn"]
    assert read(address) == 7


def test_huge_page_is_one_pmd_row(walker: str, new_map: NewMap) -> None:
    address = new_map(4 * MIB2, advice=HUGEPAGE)
    write(address + MIB2)
    assert smaps(address, "AnonHugePages") == MIB2
    found = rows(address, 4 * MIB2, walker)
    present = found[found["state"] == "present"].iloc[0]
    assert (found["state"] == "present").sum() == 1
    assert (present["vaddr"], present["size"], present["level"]) == (address + MIB2, MIB2, "pmd")
    assert present["pfn"] == pfn(address + MIB2)
    assert present["pfn"] % 512 == 0


@pytest.mark.parametrize("how", ["munmap", "mprotect", "dontneed"])
def test_split_huge_page_is_ptes_of_the_same_frames(walker: str, new_map: NewMap, how: str) -> None:
    address = new_map(2 * MIB2, advice=HUGEPAGE)
    write(address, MIB2)
    head = pfn(address)
    if how == "munmap":
        munmap(address + MIB2 - PAGE, PAGE)
    elif how == "mprotect":
        mprotect(address + MIB2 - PAGE, PAGE, READ)
    else:
        madvise(address + MIB2 - PAGE, PAGE, DONTNEED)
    assert smaps(address, "AnonHugePages") == 0
    found = rows(address, MIB2, walker)
    assert set(found["level"][:511]) == {"pte"}
    assert list(found["pfn"][:511]) == list(range(head, head + 511))
    assert found.iloc[511]["state"] == ("present" if how == "mprotect" else "none")


def test_collapsed_pages_become_one_pmd_row(walker: str, new_map: NewMap) -> None:
    address = new_map(MIB2, advice=NOHUGEPAGE)
    write(address, MIB2)
    assert len(rows(address, MIB2, walker)) == 512
    madvise(address, MIB2, HUGEPAGE)
    madvise(address, MIB2, COLLAPSE)
    assert smaps(address, "AnonHugePages") == MIB2
    found = rows(address, MIB2, walker)
    assert (len(found), found.iloc[0]["level"], found.iloc[0]["pfn"]) == (1, "pmd", pfn(address))


def test_collapsed_shared_memory_becomes_one_pmd_row(walker: str, new_map: NewMap) -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, MIB2)
    address = new_map(MIB2, READ | WRITE, SHARED, fd)
    os.close(fd)
    write(address, MIB2)
    assert len(rows(address, MIB2, walker)) == 512
    try:
        madvise(address, MIB2, COLLAPSE)
    except OSError as error:
        pytest.skip(f"needs a kernel that collapses shared memory: {error}")
    read(address, MIB2)  # the tables are only taken away; a touch maps the huge page
    assert smaps(address, "ShmemPmdMapped") == MIB2
    found = rows(address, MIB2, walker)
    assert (len(found), found.iloc[0]["level"], found.iloc[0]["pfn"]) == (1, "pmd", pfn(address))


@pytest.fixture(scope="module")
def swap_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A swap device of 64 MiB in compressed memory."""
    control = Path("/sys/class/zram-control")
    if not control.exists():
        pytest.skip("needs zram in the kernel")
    number = int((control / "hot_add").read_text())
    try:
        yield from _swapping(Path(f"/sys/block/zram{number}"), tmp_path_factory.mktemp("dev") / "zram")
    finally:
        (control / "hot_remove").write_text(str(number))


def _swapping(block: Path, node: Path) -> Iterator[Path]:
    (block / "disksize").write_text("64M")
    major, minor = map(int, (block / "dev").read_text().split(":"))
    os.mknod(node, 0o060600, os.makedev(major, minor))
    try:
        subprocess.run(["mkswap", node], check=True, capture_output=True)
        subprocess.run(["swapon", node], check=True, capture_output=True)
        yield node
        subprocess.run(["swapoff", node], check=True, capture_output=True)
    finally:
        node.unlink()


def test_paged_out_page_is_swap_where_pagemap_says_and_comes_back(
    walker: str, new_map: NewMap, swap_device: Path
) -> None:
    assert swap_device.is_block_device()
    address = new_map(64 * PAGE, advice=NOHUGEPAGE)
    write(address, 64 * PAGE, value=9)
    until = time.monotonic() + 5
    while not (words(address, 64 * PAGE) & PM_SWAP).all():  # a page that another CPU still holds stays
        assert time.monotonic() < until, "MADV_PAGEOUT left pages in memory"
        madvise(address, 64 * PAGE, PAGEOUT)
    assert not resident(address) or smaps(address, "Swap") == 64 * PAGE
    found = rows(address, 64 * PAGE, walker)
    location = words(address, 64 * PAGE) & PM_PFN
    assert list(found["state"].unique()) == ["swap"]
    assert list(found["swap_type"]) == list(location & 31)
    assert list(found["swap_offset"]) == list(location >> 5)
    assert not found["present"].any()
    assert read(address) == 9
    back = rows(address, name=walker).iloc[0]
    assert (back["state"], back["pfn"]) == ("present", pfn(address))


def _ioctl(fd: int, number: int, *values: int) -> None:
    """Call an ioctl of userfaultfd that takes a structure of 64-bit numbers."""
    argument = bytearray(b"".join(value.to_bytes(8, "little") for value in values))
    fcntl.ioctl(fd, 3 << 30 | len(argument) << 16 | 0xAA << 8 | number, argument)


@pytest.mark.parametrize("size", [PAGE, MIB2])
def test_page_write_protected_by_userfaultfd_says_so(walker: str, new_map: NewMap, size: int) -> None:
    address = new_map(2 * MIB2, advice=HUGEPAGE if size == MIB2 else NOHUGEPAGE)
    write(address)
    device = os.open("/dev/userfaultfd", os.O_RDWR) if Path("/dev/userfaultfd").exists() else -1
    if device < 0:
        pytest.skip("needs /dev/userfaultfd (6.1)")
    fd = fcntl.ioctl(device, 0xAA00, os.O_CLOEXEC)  # USERFAULTFD_IOC_NEW
    os.close(device)
    try:
        _ioctl(fd, 0x3F, 0xAA, 0, 0)  # UFFDIO_API
        _ioctl(fd, 0x00, address, 2 * MIB2, 2, 0)  # UFFDIO_REGISTER, for write protection
        assert not rows(address, name=walker).iloc[0]["uffd_wp"]
        _ioctl(fd, 0x06, address, size, 1)  # UFFDIO_WRITEPROTECT
        found = rows(address, name=walker).iloc[0]
        assert found["size"] == size
        assert found["uffd_wp"]
        assert walker == "pagemap" or not found["rw"]
        assert words(address)[0] >> 57 & 1
        _ioctl(fd, 0x06, address, size, 0)
        assert not rows(address, name=walker).iloc[0]["uffd_wp"]
    finally:
        os.close(fd)


@pytest.fixture(params=[(MIB2, "pmd"), (GIB, "pud")], ids=["2MiB", "1GiB"])
def reserved(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """Two pages of hugetlb: their size and the level of their entries."""
    size, level = request.param
    pool = Path(f"/sys/kernel/mm/hugepages/hugepages-{size >> 10}kB/nr_hugepages")
    if not pool.exists():
        pytest.skip(f"needs a kernel with hugetlb pages of {size:#x} bytes")
    before = int(pool.read_text())
    pool.write_text(str(before + 2))
    try:
        if int(pool.read_text()) < before + 2:
            pytest.skip(f"needs unbroken memory for two hugetlb pages of {size:#x} bytes")
        yield size, level
    finally:
        pool.write_text(str(before))


def test_hugetlb_pages_are_leaves_of_their_level(walker: str, reserved: tuple[int, str], new_map: NewMap) -> None:
    size, level = reserved
    shift = size.bit_length() - 1
    address = new_map(2 * size, flags=PRIVATE | ANONYMOUS | HUGETLB | shift << 26)
    try:
        write(address, 1)
        write(address + size, 1)
        assert smaps(address, "KernelPageSize") == size
        found = rows(address, 2 * size, walker)
        assert list(found["vaddr"]) == [address, address + size]
        assert list(found["size"]) == [size, size]
        assert set(found["level"]) == {level}
        assert list(found["pfn"]) == [pfn(address), pfn(address + size)]
        middle = rows(address + size // 2, PAGE, walker)
        assert list(middle["vaddr"]) == [address]
    finally:
        munmap(address, 2 * size)
