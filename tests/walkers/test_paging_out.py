"""Pages that were swapped out to a real device, and pages that userfaultfd write-protects."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import needs_root, rows
from handmade import (
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PAGEOUT,
    PM_PFN,
    PM_SWAP,
    NewMap,
    madvise,
    pfn,
    read,
    resident,
    smaps,
    words,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = needs_root


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


@pytest.mark.parametrize("size", [PAGE, HUGE])
def test_page_write_protected_by_userfaultfd_says_so(
    walker: str, new_map: NewMap, size: int, request: pytest.FixtureRequest
) -> None:
    if size == HUGE:
        request.getfixturevalue("level_walker")
    address = new_map(2 * HUGE, advice=HUGEPAGE if size == HUGE else NOHUGEPAGE)
    write(address)
    device = os.open("/dev/userfaultfd", os.O_RDWR) if Path("/dev/userfaultfd").exists() else -1
    if device < 0:
        pytest.skip("needs /dev/userfaultfd (6.1)")
    fd = fcntl.ioctl(device, 0xAA00, os.O_CLOEXEC)  # USERFAULTFD_IOC_NEW
    os.close(device)
    try:
        _ioctl(fd, 0x3F, 0xAA, 0, 0)  # UFFDIO_API
        _ioctl(fd, 0x00, address, 2 * HUGE, 2, 0)  # UFFDIO_REGISTER, for write protection
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
