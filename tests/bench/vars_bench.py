"""Benchmark of `variables()`: a million objects of several kinds, and a large process. ``make bench``.

Seconds are those of this machine; the peak of memory is that of Python's and numpy's own (tracemalloc), in a run apart.
"""

from __future__ import annotations

import resource
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from bench import GIB, report, resident

import pte_magic

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 10**6
SECONDS, MEMORY = 1.0, 100 << 20
KINDS: dict[str, Callable[[], Any]] = {
    "texts in a list": lambda: [str(at) * 3 for at in range(COUNT)],
    "numbers in a dict": lambda: {at: at * 1.5 for at in range(COUNT // 2, COUNT)},
    "pairs in a list": lambda: [(at + 0.5, at) for at in range(1000, 1000 + COUNT // 3)],
    "objects with attributes": lambda: [Thing(at) for at in range(1000, 1000 + COUNT // 4)],
    "arrays in a list": lambda: [np.empty(3) for _ in range(COUNT)],
    "views in a list": lambda: [whole[at:] for whole in [np.zeros(COUNT)] for at in range(COUNT)],
    "bytes in a list": lambda: [b"%d" % at for at in range(COUNT)],
    "bytearrays in a list": lambda: [bytearray(b"%d" % at) for at in range(COUNT)],
    "/100 small DataFrames": lambda: [pd.DataFrame({"a": [at], "b": ["x"]}) for at in range(COUNT // 100)],
}


class Thing:
    """An object with two attributes."""

    def __init__(self, number: int) -> None:
        self.number = number + 0.5
        self.items = [number]


def seconds(namespace: dict[str, Any]) -> float:
    """Return the processor's seconds of the fastest of three calls."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        pte_magic.variables(namespace)
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    for name, make in KINDS.items():
        namespace = {"made": make()}
        taken = seconds(namespace)
        tracemalloc.start()
        pte_magic.variables(namespace)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        report(f"variables() of a million {name}: seconds", taken, "at most 1",
               reached=taken <= SECONDS, measured=f"{taken:.2f} s")  # fmt: skip
        report(f"variables() of a million {name}: MiB", peak / (1 << 20), "at most 100",
               reached=peak <= MEMORY, measured=f"{peak >> 20} MiB")  # fmt: skip
        del namespace
    size = min(16 * GIB, GIB * (free() // GIB) // 2)
    with resident(size) as address:
        begin = time.process_time()
        np.asarray(pte_magic.variables({"large": address})["resident"])
        taken = time.process_time() - begin
    report(f"variables() of a process of {size // GIB} GiB in small pages: seconds", taken, "at most 5",
           reached=taken <= 5, measured=f"{taken:.2f} s")  # fmt: skip
    print(f"\nresident at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


def free() -> int:
    """Return the bytes of memory that are available."""
    with open("/proc/meminfo", encoding="utf-8") as file:  # noqa: PTH123  (one line)
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))


if __name__ == "__main__":
    main()
