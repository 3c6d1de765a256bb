"""Benchmark of `frames()` against the kernel tree's page-types, which reads page by page. As root: ``make bench``.

Build it from a kernel's source by ``make -C tools/mm page-types`` (tools/vm in old ones), and name it, if it is not in
$PATH: ``make bench PAGE_TYPES=…/page-types``.
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess

import numpy as np
from bench import GIB, fastest, report, resident

import pte_magic
from pte_magic.linux import page_frames
from pte_magic.linux.hardware import PAGE_SIZE

EACH_WITH_ALL = ("--list-each", "--list-cgroup", "--list-mapcnt")


def page_types() -> str | None:
    """Return the program that $PAGE_TYPES names, or that is in $PATH."""
    return shutil.which(os.environ.get("PAGE_TYPES") or "page-types")


def asked(program: str, start: int, *options: str) -> float:
    """Return the seconds that page-types takes for 1 GiB of this process."""
    pages = f"{start // PAGE_SIZE:#x}+{GIB // PAGE_SIZE}"
    command = [program, "--pid", str(os.getpid()), "--addr", pages, *options]
    return fastest(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))


def compare(program: str, what: str, start: int) -> None:
    """Compare the flags alone, and all that `frames()` tells."""
    frames = pte_magic.walk(start, start + GIB)["pfn"].to_numpy(np.uint64)
    runs = 1 + int((np.diff(np.sort(frames)) > 1).sum())
    ours = {
        "flags": (fastest(lambda: page_frames.flags(frames)), asked(program, start)),
        "walk and frames()": (
            fastest(lambda: pte_magic.walk(start, start + GIB).frames()),
            asked(program, start, *EACH_WITH_ALL),
        ),
    }
    for name, (seconds, theirs) in ours.items():
        ratio = theirs / seconds
        report(
            f"{name} of 1 GiB {what}: times as fast as page-types", ratio, "at least 10",
            reached=ratio >= 10, measured=f"{seconds * 1e3:.1f} ms, {theirs * 1e3:.1f} ms; {runs:,} runs of frames",
        )  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    program = page_types()
    if program is None:
        print("| frames() against page-types | - | at least 10 | not run | no page-types: name it by $PAGE_TYPES |")
        return
    with resident(GIB) as start:
        compare(program, "of 4 KiB pages", start)
    with resident(GIB, mmap.MADV_HUGEPAGE) as start:
        compare(program, "of 2 MiB pages", start)


if __name__ == "__main__":
    main()
