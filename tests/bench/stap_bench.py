"""Benchmarks of SystemTap, which need a kernel that loads modules; in one of the lab: ``make bench-vm KERNEL=6.12``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench import WORD, fastest, report, resident
from IPython.core.interactiveshell import InteractiveShell

import pte_magic
from pte_magic import walkers
from pte_magic.linux.address_space import own
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.systemtap import module_cache
from pte_magic.systemtap.run import Run
from pte_magic.walkers.stap import StapWalker

sys.path.insert(0, str(Path(__file__).parents[1] / "vm" / "guest"))
import cells

SIZE = 1 << 29


def bulk(walker: StapWalker) -> None:
    """Measure 512 MiB of 4 KiB pages."""
    with resident(SIZE) as start:
        words = bytearray(SIZE // PAGE_SIZE * WORD)
        pagemap = fastest(lambda: os.preadv(own().fd, [words], start // PAGE_SIZE * WORD))
        array = fastest(lambda: pte_magic.entries(start, start + SIZE, walker="stap"))
        in_place = fastest(lambda: [len(chunk) for chunk in walker.views(own(), start, start + SIZE)])
    for seconds, how in ((array, "array of its own"), (in_place, "consumed in place")):
        ratio = pagemap / seconds
        report(
            f"stap: entries of 512 MiB, {how}: times as fast as reading pagemap", ratio, "at least 3",
            reached=ratio >= 3, measured=f"{seconds * 1e3:.2f} ms, pagemap {pagemap * 1e3:.1f} ms",
        )  # fmt: skip


def one_page(walker: StapWalker) -> None:
    """Measure a warm query."""
    page = np.ones(PAGE_SIZE, np.uint8)
    start = page.ctypes.data // PAGE_SIZE * PAGE_SIZE
    space, at = own(), start // PAGE_SIZE * WORD
    pagemap = fastest(lambda: os.pread(space.fd, WORD, at), number=1000)
    query = fastest(lambda: walker.walk(space, start, start + PAGE_SIZE), number=1000)
    ratio = query / pagemap
    report(
        "stap: one warm query of a page: time over one 8-byte pread", ratio, "at most 3",
        reached=ratio <= 3, measured=f"{query * 1e6:.1f} us, pread {pagemap * 1e6:.1f} us",
    )  # fmt: skip


def cell_again() -> None:
    """Measure the second run of a cell against loading and unloading its module, and look whether it is compiled."""
    shell: Any = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "pte_magic")

    def run(number: int) -> float:
        shell.user_ns["number"] = number
        start = time.perf_counter()
        assert shell.run_cell_magic("stap", cells.NUMBER.line, cells.NUMBER.text) is None
        assert shell.user_ns["printed"] == f"{number}\n"
        return time.perf_counter() - start

    module = module_cache.kept(cells.NUMBER.script())
    assert module, "compile it first: tests/vm/guest/precompile.py"
    before = module.stat().st_mtime
    seconds = min(run(number) for number in range(1, 4))
    assert module.stat().st_mtime == before

    def load_and_unload() -> None:
        alone = Run(module)
        alone.first_line()
        alone.stop()

    alone = fastest(load_and_unload, repeat=3)
    ratio = seconds / alone
    report(
        "%%stap: a cell again, with another number, not compiled: time over loading and unloading its module", ratio,
        "at most 1.5", reached=ratio <= 1.5, measured=f"{seconds:.2f} s, {alone:.2f} s",
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    walker = walkers.get("stap")
    assert isinstance(walker, StapWalker)
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    bulk(walker)
    one_page(walker)
    cell_again()


if __name__ == "__main__":
    main()
