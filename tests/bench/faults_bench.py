"""Benchmark of tracing page faults: first touches of 4 KiB pages, and a loop without faults, traced and untraced.

Times are those of the processor, which other programs disturb less.

Run as root: ``python tests/bench/faults_bench.py``.
"""

from __future__ import annotations

import mmap
import statistics
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
from bench import GIB, report

from pte_magic.errors import SourceUnavailableError
from pte_magic.events.fault_sources import open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.events.fault_record import Faults

SIZE = 1 * GIB
PAGE = mmap.PAGESIZE
ROUNDS = 7
THREADS, IN_ALL = 16, 10_000_000
GOALS = {"bpf": 1.25, "perf": 1.5}


def touched(size: int = SIZE) -> None:
    """Write a byte to each page of new memory."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        begin = time.thread_time()
        np.frombuffer(memory, np.uint8)[::PAGE] = 1
        times.append(time.thread_time() - begin)


def loop() -> None:
    """Compute in memory that is there."""
    array = np.ones(1 << 16)
    begin = time.thread_time()
    for _ in range(4000):
        array *= 1.0
    times.append(time.thread_time() - begin)


times: list[float] = []


def traced(source: str, what: Callable[[], None]) -> Faults:
    """Call a function while its faults are recorded."""
    with open_source(source) as opened:
        opened.start()
        what()
        return opened.stop()


def ratio(source: str, what: Callable[[], None]) -> tuple[float, float, float]:
    """Return the median of the ratios of rounds in turn, and the fastest of each, untraced and traced."""
    ratios, plain, with_it = [], [], []
    for _ in range(ROUNDS):
        what()
        plain.append(times.pop())
        traced(source, what)
        with_it.append(times.pop())
        ratios.append(with_it[-1] / plain[-1])
    return statistics.median(ratios), min(plain), min(with_it)


def storm(source: str) -> None:
    """Have threads make ten million faults, and say how many of them have a row or are counted as lost."""
    each = IN_ALL // THREADS * PAGE // 64

    def work() -> None:
        with mmap.mmap(-1, each, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            array = np.frombuffer(memory, np.uint8)
            for _ in range(64):
                array[::PAGE] = 1
                memory.madvise(mmap.MADV_DONTNEED)
            del array

    def all_of_them() -> None:
        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    found = traced(source, all_of_them)
    told = int(found.completed.sum()) + found.lost
    counted = found.minor + found.major
    report(f"{source}: {THREADS} threads, rows and lost faults over those that the kernel counted", told / counted,
           "exactly 1", reached=told == counted,
           measured=f"{counted:,} faults, {len(found.records):,} rows, {found.lost:,} lost")  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    for source, goal in GOALS.items():
        try:
            open_source(source).close()
        except SourceUnavailableError as error:
            print(f"| {error} | | | | |")
            continue
        found, plain, with_it = ratio(source, touched)
        faults = SIZE // PAGE
        report(f"{source}: first touch of 1 GiB in small pages: time over untraced", found, f"at most {goal}",
               reached=found <= goal,
               measured=f"{plain / faults * 1e9:.0f} ns a fault, traced {with_it / faults * 1e9:.0f}")  # fmt: skip
        found, plain, with_it = ratio(source, loop)
        report(f"{source}: a loop without faults: time over untraced", found, "at most 1.02", reached=found <= 1.02,
               measured=f"{plain * 1e3:.1f} ms, traced {with_it * 1e3:.1f}")  # fmt: skip
        storm(source)


if __name__ == "__main__":
    main()
