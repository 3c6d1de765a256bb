"""Places to swap to: files on the guest's empty disk, and compressed memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from handmade import PAGE, PAGEOUT, PM_SWAP, check, libc, madvise, words
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

DISK = Path("/dev/vdb")
_PREFER = 0x8000  # SWAP_FLAG_PREFER: the priority is in the low bits


@contextmanager
def file_system(place: Path) -> Iterator[Path]:
    """Make a file system on the empty disk: neither a file in memory nor one of an overlay can be swapped to.

    Its blocks are as large as pages: where smaller ones do not lie as pages do, swapped pages are not where they are
    in the file.
    """
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", str(PAGE), DISK], check=True)
    subprocess.run(["mount", DISK, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def make_file(path: Path, pages: int) -> Path:
    """Make a file to swap to. Its blocks are written, so that reading it later gives what was swapped there."""
    with path.open("wb") as file:
        file.write(bytes(pages * PAGE))
        os.fsync(file.fileno())
    path.chmod(0o600)
    subprocess.run(["mkswap", "-q", path], check=True)
    return path


@contextmanager
def zram(size: str) -> Iterator[Path]:
    """Make a block device in compressed memory."""
    control = Path("/sys/class/zram-control")
    if not control.exists():
        subprocess.run(["modprobe", "zram", "num_devices=0"], check=True)
    number = (control / "hot_add").read_text().strip()
    try:
        Path(f"/sys/block/zram{number}/disksize").write_text(size, encoding="ascii")
        subprocess.run(["mkswap", "-q", f"/dev/zram{number}"], check=True)
        yield Path(f"/dev/zram{number}")
    finally:
        (control / "hot_remove").write_text(number, encoding="ascii")


def swap_on(area: Path, priority: int = 0) -> None:
    check(libc.swapon(os.fsencode(area), _PREFER | priority))


def swap_off(area: Path) -> None:
    check(libc.swapoff(os.fsencode(area)))


def areas() -> list[str]:
    """Return the places in use, as /proc/swaps lists them: by the number that is the type in entries."""
    return [line.split()[0] for line in Path("/proc/swaps").read_text(encoding="utf-8").splitlines()[1:]]


def page_out(address: int, size: int = PAGE) -> None:
    """Have the kernel swap pages of this process out."""

    def is_out() -> bool:
        madvise(address, size, PAGEOUT)
        return bool((words(address, size) & PM_SWAP).all())

    # A page that a CPU still holds stays for a while.
    wait_until(is_out, instead=lambda: "MADV_PAGEOUT left pages in memory")


def content(area: Path, page: int) -> bytes:
    """Read a page of a place to swap to, past the page cache."""
    fd = os.open(area, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, PAGE) as memory:
            assert os.preadv(fd, [memory], page * PAGE) == PAGE
            return memory[:]
    finally:
        os.close(fd)


def fill(address: int, pages: int) -> None:
    """Write to each page its own number from 1 on, into every byte: pages of zeros are not written to the disk."""
    view = np.ctypeslib.as_array((ctypes.c_ubyte * (pages * PAGE)).from_address(address)).reshape(pages, PAGE)
    view[:] = np.arange(1, pages + 1, dtype=np.uint8)[:, None]
