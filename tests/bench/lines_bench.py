"""Benchmark of tracing lines: a cell of 100,000 lines with and without, and a ledger of a million faults.

Run as root: ``python tests/bench/lines_bench.py``.
"""

from __future__ import annotations

import mmap
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
from bench import report

import pte_magic
from pte_magic.events.lines import LineTrace

if TYPE_CHECKING:
    from collections.abc import Callable

LINES, ROUNDS, FAULTS = 100_000, 5, 1_000_000
PAGE = mmap.PAGESIZE


def short_lines() -> None:
    """Run lines that do next to nothing."""
    value = 0
    for number in range(LINES // 2):
        value += number


def numpy_lines() -> None:
    """Run lines that each call numpy for 1,000 elements."""
    array = np.ones(1000)
    for _ in range(LINES // 3):
        array *= 1.0
        array += 0.0


def ratio(what: Callable[[], None], *, counts: bool) -> tuple[float, float, float]:
    """Return the median of the ratios of rounds in turn, and the fastest of each, untraced and traced."""
    plain, with_it = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        what()
        plain.append(time.perf_counter() - begin)
        trace = LineTrace(counts=counts)
        trace.start()
        begin = time.perf_counter()
        what()
        with_it.append(time.perf_counter() - begin)
        trace.stop()
    return statistics.median(b / a for a, b in zip(plain, with_it, strict=True)), min(plain), min(with_it)


def ledger() -> None:
    """Time the frame of a million faults."""
    with mmap.mmap(-1, FAULTS * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        array = np.frombuffer(memory, np.uint8)
        with pte_magic.faults(most=2 * FAULTS, buffer=1 << 28) as seen:
            for first in range(0, FAULTS, FAULTS // 10):
                array[first * PAGE : (first + FAULTS // 10) * PAGE : PAGE] = 1
            end = time.perf_counter()
        ended = time.perf_counter() - end
        begin = time.perf_counter()
        found = seen.frame()
        took = time.perf_counter() - begin
        del array
    report("a ledger of faults becomes a frame: seconds", took, "at most 1", reached=took <= 1,
           measured=f"{len(found):,} rows by {seen.source}: {seen.lost:,} lost; end in {ended:.1f} s")  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    for name, what in (("that do nothing", short_lines), ("that call numpy", numpy_lines)):
        for counts in (False, True):
            how = "with their faults counted" if counts else "with times"
            found, plain, with_it = ratio(what, counts=counts)
            report(f"{LINES:,} lines {name}, {how}: time over untraced", found, "at most 3", reached=found <= 3,
                   measured=f"{plain / LINES * 1e9:.0f} ns a line, traced {with_it / LINES * 1e9:.0f}")  # fmt: skip
    ledger()


if __name__ == "__main__":
    main()
