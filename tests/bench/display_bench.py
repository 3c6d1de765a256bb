"""Benchmark of what people wait for: the output of a cell, a frame, and `frames()`. Run as root: ``make bench``.

The unit is the copying of the raw entries from one array to another, neither of them in a cache.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import numpy as np
from bench import GIB, fastest, report, resident
from jupyter_client.manager import start_new_kernel

import pte_magic
from pte_magic.linux.hardware import PAGE_SIZE

OUT_OF_CACHE = 12  # arrays of 8 MB: more than caches hold
GAPS = (1, 2, 4, 8, 16, 32)  # page frames
FILES = ("kpageflags", "kpagecount", "kpagecgroup")
MADE = """import gc, mmap, sys, time
import numpy as np
%load_ext pte_magic
a = np.frombuffer(mmap.mmap(-1, {size}), np.uint8)
%pte a[:100]
del a
memory = mmap.mmap(-1, {size}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
a = np.frombuffer(memory, np.uint8)
a[::{page}] = 1"""
# From the cell to the data that are displayed; the time on the way to the browser is not ours.
TIMED = """ip, best = get_ipython(), float("inf")
for _ in range(7):
    start = time.perf_counter()
    frame = ip.run_cell("%pte a").result
    best = min(best, time.perf_counter() - start)
    del frame
print("seconds", best)"""


def frames_and_entries() -> None:
    """Measure a frame of a million rows, and the entries alone."""
    with resident(4 * GIB) as start:
        end = start + 4 * GIB
        raw = pte_magic.entries(start, end, walker="bpf").entry
        arrays = cycle([(raw.copy(), raw.copy()) for _ in range(OUT_OF_CACHE // 2)])
        copy = fastest(lambda: np.copyto(*next(arrays)), 40)
        array = fastest(lambda: pte_magic.entries(start, end, walker="bpf"), 20)
        frame = fastest(lambda: pte_magic.walk(start, end, walker="bpf"), 20)
        made = pte_magic.walk(start, end, walker="bpf")
        row = int(made.memory_usage(deep=True).sum()) / len(made)
    base = f"copy {copy * 1e3:.2f} ms"
    for what, seconds, goal in (
        ("entries() of 4 GiB as an array of its own", array, 2),
        ("walk() of 4 GiB (1 M rows)", frame, 25),
    ):
        ratio = seconds / copy
        report(
            f"{what}: time over copying the raw entries", ratio, f"at most {goal}",
            reached=ratio <= goal, measured=f"{seconds * 1e3:.2f} ms, {base}",
        )  # fmt: skip
    report(
        "bytes a row, over those of a raw entry", row / 8, "at most 5", reached=row <= 40, measured=f"{row:.1f} bytes"
    )


def cell_to_output() -> None:
    """Measure `%pte a` in a kernel, for 4 GiB."""
    manager, client = start_new_kernel()
    said: list[str] = []
    try:
        for code in (MADE.format(size=4 * GIB, page=PAGE_SIZE), TIMED):
            client.execute_interactive(
                code, timeout=600, output_hook=lambda message: said.append(str(message["content"].get("text", "")))
            )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    seconds = float(next(text for text in said if text.startswith("seconds")).split()[1])
    report(
        "cell to output, `%pte a` of 4 GiB of 4 KiB pages: over 100 ms", seconds / 0.1, "at most 1",
        reached=seconds <= 0.1, measured=f"{seconds * 1e3:.0f} ms",
    )  # fmt: skip


def kernel_alone(frames: np.ndarray[tuple[int], np.dtype[np.int64]], gap: int) -> float:
    """Return the seconds that the kernel takes for the words of some page frames, in pieces that bridge gaps."""
    starts = np.flatnonzero(np.diff(frames, prepend=-GIB) > gap)
    lasts = frames[np.append(starts[1:], len(frames)) - 1]
    pieces = list(zip(((lasts - frames[starts] + 1) * 8).tolist(), (frames[starts] * 8).tolist(), strict=True))
    with ExitStack() as stack:
        files = [stack.enter_context(Path("/proc", name).open("rb", buffering=0)).fileno() for name in FILES]

        def read() -> None:
            for fd in files:
                for size, offset in pieces:
                    os.pread(fd, size, offset)

        return fastest(read, 5)


def page_frames() -> None:
    """Measure `frames()` of 4 GiB in the page frames that the kernel gave out."""
    with resident(4 * GIB) as start:
        frame = pte_magic.walk(start, start + 4 * GIB, walker="bpf")
        found = np.unique(frame["pfn"].to_numpy(np.int64))
        alone, gap = min((kernel_alone(found, gap), gap) for gap in GAPS)
        seconds = fastest(frame.frames, 5)
    ratio, runs = seconds / alone, int((np.diff(found) > 1).sum()) + 1
    report(
        "frames() of 4 GiB: time over the kernel's alone, in pieces of its best size", ratio, "at most 1.5",
        reached=ratio <= 1.5,
        measured=f"{seconds * 1e3:.0f} ms, {alone * 1e3:.0f} ms over gaps of {gap}; {runs:,} runs of frames",
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    frames_and_entries()
    cell_to_output()
    page_frames()


if __name__ == "__main__":
    main()
