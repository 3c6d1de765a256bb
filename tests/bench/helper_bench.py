"""Benchmark of the helper: against the same walk in this process, and with many clients. As root: ``make bench``."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from bench import GIB, fastest, report, resident
from serving import serving
from talking import Talker, opened, request

from pte_magic import walkers
from pte_magic.linux.address_space import own
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.walkers import helper_protocol

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

ROUNDS = 7
SECONDS = 3.0
CLIENTS = (1, 10, 100)


def both(start: int, size: int, number: int) -> tuple[float, float]:
    """Return the seconds of a walk by the eBPF walker in this process, and through the helper, measured in turns."""
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for which, name in enumerate(("bpf", "helper")):
            walker = walkers.get(name)
            seconds = fastest(lambda walk=walker.walk: walk(own(), start, start + size), 1, number)  # type: ignore[misc]
            best[which] = min(best[which], seconds)
    return best[0], best[1]


def against_root(what: str) -> None:
    """Measure one page, and 1 M entries, through the helper and by the eBPF walker in this process."""
    page = np.ones(PAGE_SIZE, np.uint8)
    here, there = both(page.ctypes.data & -PAGE_SIZE, PAGE_SIZE, 2000)
    report(
        f"one page through the helper{what}: time over the same in this process", there / here, "none",
        reached=True, measured=f"{there * 1e6:.1f} us, {here * 1e6:.1f} us",
    )  # fmt: skip
    with resident(4 * GIB) as start:
        here, there = both(start, 4 * GIB, 3)
    report(
        f"1 M entries through the helper{what}: time over the same in this process", there / here, "at most 1.3",
        reached=there / here <= 1.3, measured=f"{there * 1e3:.2f} ms, {here * 1e3:.2f} ms",
    )  # fmt: skip


def asked(path: Path, ready: Barrier, counts: Any, number: int) -> None:
    """Ask for a page of one's own again and again; this is a client's process."""
    page = np.ones(2 * PAGE_SIZE, np.uint8)
    message = request(page.ctypes.data & -PAGE_SIZE)
    with opened() as fd, Talker(path) as talker:
        ready.wait()
        until = time.monotonic() + SECONDS
        count = 0
        while time.monotonic() < until:
            talker.send(message, [fd])
            talker.answer()
            count += 1
        counts[number] = count


def together(path: Path) -> None:
    """Count requests for one page a second, by 1, 10 and 100 clients at a time."""
    context = multiprocessing.get_context("fork")
    for clients in CLIENTS:
        ready, counts = context.Barrier(clients), context.Array("L", clients, lock=False)
        children = [context.Process(target=asked, args=(path, ready, counts, number)) for number in range(clients)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        each = [int(count) for count in counts]
        report(
            f"requests a second of {clients} clients: the busiest one's over the idlest one's", max(each) / min(each),
            "none", reached=True, measured=f"{sum(each) / SECONDS:.0f} in all",
        )  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    for what, options in (("", ("--frames", "0")), (", page frames taken out", ())):
        with serving("--max-clients-per-user", str(max(CLIENTS) + 1), *options) as helper:
            os.environ[helper_protocol.VARIABLE] = str(helper.path)
            against_root(what)
            if not what:
                together(helper.path)
            walkers.close()


if __name__ == "__main__":
    main()
