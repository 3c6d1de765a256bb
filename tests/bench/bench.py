"""Benchmarks: ratios taken within one run, because the machines are noisy. Run as root: ``make bench``."""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import pte_magic
from pte_magic import walkers
from pte_magic.linux.address_space import own
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.walkers.bpf.walker import BpfWalker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIB = 1 << 30
WORD = 8  # bytes of an entry, and of a word of pagemap


@contextmanager
def resident(size: int, advice: int = mmap.MADV_NOHUGEPAGE) -> Iterator[int]:
    """Give the address of `size` bytes, every 4 KiB page of them touched; nothing outlives the block."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(advice)
    pages = np.frombuffer(memory, np.uint8)
    pages[::PAGE_SIZE] = 1
    yield pages.ctypes.data
    del pages
    memory.close()


def fastest(function: Callable[[], object], repeat: int = 7, number: int = 1) -> float:
    """Return the seconds of one call in the fastest of `repeat` rounds."""
    function()
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(number):
            function()
        best = min(best, (time.perf_counter() - start) / number)
    return best


def report(what: str, ratio: float, goal: str, *, reached: bool, measured: str) -> None:
    """Print a row of the table."""
    print(f"| {what} | {ratio:.2f} | {goal} | {'yes' if reached else 'no'} | {measured} |")


def bulk() -> None:
    """Measure 4 GiB of 4 KiB pages."""
    walker = walkers.get("bpf")
    assert isinstance(walker, BpfWalker)
    with resident(4 * GIB) as start:
        end = start + 4 * GIB
        words = bytearray(4 * GIB // PAGE_SIZE * WORD)
        pagemap = fastest(lambda: os.preadv(own().fd, [words], start // PAGE_SIZE * WORD))
        array = fastest(lambda: pte_magic.entries(start, end, walker="bpf"))
        in_place = fastest(lambda: [len(chunk) for chunk in walker.views(own(), start, end)])
        frame = fastest(lambda: pte_magic.walk(start, end, walker="bpf"))
    base = f"pagemap {pagemap * 1e3:.1f} ms"
    goals = ((array, "array of its own", 10), (in_place, "consumed in place", 20))
    for seconds, how, goal in goals:
        ratio = pagemap / seconds
        report(
            f"entries of 4 GiB, {how}: times as fast as reading pagemap", ratio, f"at least {goal}",
            reached=ratio >= goal, measured=f"{seconds * 1e3:.2f} ms, {base}",
        )  # fmt: skip
    ratio = frame / pagemap
    report(
        "PteFrame of it (1 M rows): time over reading pagemap", ratio, "at most 1.5",
        reached=ratio <= 1.5, measured=f"{frame * 1e3:.1f} ms, {base}",
    )  # fmt: skip


def one_address() -> None:
    """Measure a single address, warm."""
    page = np.ones(PAGE_SIZE, np.uint8)
    address = page.ctypes.data
    at = address // PAGE_SIZE * WORD
    pagemap = fastest(lambda: os.pread(own().fd, WORD, at), number=5000)
    raw = fastest(lambda: pte_magic.entries(address, walker="bpf"), number=5000)
    frame = fastest(lambda: pte_magic.walk(address, walker="bpf"), number=300)
    base = f"pread {pagemap * 1e6:.2f} us"
    for seconds, what, goal in ((raw, "entries() of one page", 5), (frame, "walk() of one address, four rows", 100)):
        ratio = seconds / pagemap
        report(
            f"{what}: time over one 8-byte pread", ratio, f"at most {goal}",
            reached=ratio <= goal, measured=f"{seconds * 1e6:.1f} us, {base}",
        )  # fmt: skip


def everything() -> None:
    """Measure the whole address space of a process with 1 GiB resident."""
    with resident(GIB) as start:
        part = fastest(lambda: pte_magic.entries(start, start + GIB, walker="bpf"))
        whole = fastest(lambda: pte_magic.entries("all", walker="bpf"))
    ratio = whole / part
    report(
        "`all` with 1 GiB resident: time over that 1 GiB", ratio, "at most 1.5",
        reached=ratio <= 1.5, measured=f"{whole * 1e3:.2f} ms, {part * 1e3:.2f} ms",
    )  # fmt: skip


def memory() -> None:
    """Measure in a process of its own how much memory a walk of 16 GiB needs at its peak."""
    size = 16 * GIB
    available = kibibytes("meminfo", "MemAvailable")
    if available < size * 1.1:
        print(f"| peak memory of walking 16 GiB raw | - | at most 1.2 | not run | {available >> 30} GiB available |")
        return
    done = subprocess.run([sys.executable, __file__, "peak", str(size)], capture_output=True, text=True, check=True)
    peak = int(done.stdout)
    ratio = peak / (size // PAGE_SIZE * WORD)
    report(
        "peak memory of walking 16 GiB raw: over 8 bytes an entry", ratio, "at most 1.2",
        reached=ratio <= 1.2, measured=f"{peak / (1 << 20):.1f} MiB",
    )  # fmt: skip


def peak(size: int) -> None:
    """Print the bytes by which the peak of resident memory grows while `size` bytes are walked."""
    with resident(size) as start:
        pte_magic.entries(start, walker="bpf")  # load the program
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
        before = kibibytes("self/status", "VmRSS")
        found = pte_magic.entries(start, start + size, walker="bpf")
        assert len(found) == size // PAGE_SIZE
        print(kibibytes("self/status", "VmHWM") - before)


def kibibytes(file: str, name: str) -> int:
    """Return a figure that a file of /proc gives in KiB, in bytes."""
    lines = Path("/proc", file).read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) << 10


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    bulk()
    one_address()
    everything()
    memory()


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        peak(int(sys.argv[2]))
    else:
        main()
