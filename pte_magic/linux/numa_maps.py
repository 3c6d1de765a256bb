"""The memory policy of regions, and the nodes of their pages: /proc/PID/numa_maps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.linux import kernel_text

if TYPE_CHECKING:
    from collections.abc import Container

_ON_NODE = re.compile(r"N(\d+)=(\d+)")


class Placed(NamedTuple):
    """The places of a region's pages.

    Attributes:
        policy: As the kernel writes it (``mpol_to_str()``, mm/mempolicy.c): ``default``, ``bind:0``, ``prefer:1``.
            It is that of the region, or else of the process.
        bytes: Bytes in memory on each node.

    """

    policy: str
    bytes: dict[int, int]


def of_numa_maps(text: bytes, starts: Container[int], page_size: int) -> dict[int, Placed]:
    """Return the places of the pages of some regions, by their first addresses."""
    found = {}
    for line in kernel_text.lines(text):
        if int(line.partition(b" ")[0], 16) not in starts:
            continue
        start, policy, *words = line.decode(errors="backslashreplace").split(" ")
        size = next((int(word.partition("=")[2]) << 10 for word in words if word.startswith("kernelpagesize_kB=")), 0)
        counts = {int(on[1]): int(on[2]) * (size or page_size) for word in words if (on := _ON_NODE.fullmatch(word))}
        found[int(start, 16)] = Placed(policy, counts)
    return found
