"""Benchmark of `shared()` against reading the pagemap of all compared processes. As root: ``make bench``."""

from __future__ import annotations

import os
from contextlib import ExitStack

from bench import GIB, WORD, fastest, report, resident

import pte_magic
from pte_magic.linux.address_space import AddressSpace
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.targets.target import between
from pte_magic.workloads.forked_process import Forked

_CHILDREN = 2


def main() -> None:
    """Print the row of the table."""
    with ExitStack() as stack:
        start = stack.enter_context(resident(GIB))
        pids = [stack.enter_context(Forked(int)).pid for _ in range(_CHILDREN)]
        spaces = [stack.enter_context(AddressSpace(pid)) for pid in (os.getpid(), *pids)]
        words = bytearray(GIB // PAGE_SIZE * WORD)
        kernels = fastest(lambda: [os.preadv(one.fd, [words], start // PAGE_SIZE * WORD) for one in spaces])
        ours = fastest(lambda: pte_magic.shared(between(start, start + GIB), pids))
    ratio = ours / kernels
    report(
        f"shared() of 1 GiB in {_CHILDREN + 1} processes: time over reading pagemap of all", ratio, "at most 5",
        reached=ratio <= 5, measured=f"{ours * 1e3:.0f} ms, {kernels * 1e3:.0f} ms",
    )  # fmt: skip


if __name__ == "__main__":
    main()
