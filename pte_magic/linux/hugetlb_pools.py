"""The pools of huge pages that an administrator has set aside: /sys/kernel/mm/hugepages (hugetlbpage.rst)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pte_magic.linux import kernel_text

DIRECTORY = Path("/sys/kernel/mm/hugepages")
_SIZE = re.compile(r"hugepages-(\d+)kB")


class Pool(NamedTuple):
    """Pages of one size: how many there are, are free, promised to mappings, and may be added when needed."""

    pages: int
    free: int
    reserved: int
    overcommit: int


def pools() -> dict[int, Pool]:
    """Return the pool of each size, by its bytes, ascending; none if the kernel has no hugetlb, or shows none here."""
    found = {}
    for path in DIRECTORY.iterdir() if DIRECTORY.is_dir() else ():
        if size := _SIZE.fullmatch(path.name):
            names = ("nr_hugepages", "free_hugepages", "resv_hugepages", "nr_overcommit_hugepages")
            try:
                found[int(size[1]) << 10] = Pool(*(int(kernel_text.read(path / name)) for name in names))
            except (OSError, ValueError):
                continue
    return dict(sorted(found.items()))
