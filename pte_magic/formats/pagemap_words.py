"""The words of /proc/PID/pagemap, as one table of bit fields.

Source: Documentation/admin-guide/mm/pagemap.rst and ``pte_to_pagemap_entry()``, fs/proc/task_mmu.c. They are the
kernel's summary of an entry, without most of its bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.formats.decode import Column, scatter, swap_columns
from pte_magic.formats.field import KINDS, STATES, Field, Shape
from pte_magic.linux.pagemap import BITS, GUARD, PLACE, PLACE_BITS, PRESENT, SWAP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.formats.kernel import Kernel

_SOURCE = "Documentation/admin-guide/mm/pagemap.rst"
_PRESENT = frozenset({Shape.PAGE})
_SWAP = frozenset({Shape.SWAP})
_BOTH = _PRESENT | _SWAP

FIELDS = (
    Field("pfn", 0, PLACE_BITS, _PRESENT, "page frame number; 0 if not permitted", _SOURCE, "linux"),
    Field("swap_type", 0, 5, _SWAP, "which swap device; 0 if not permitted", _SOURCE, "linux"),
    Field("swap_offset", 5, PLACE_BITS - 5, _SWAP, "where on the swap device; 0 if not permitted", _SOURCE, "linux"),
    Field(
        "soft_dirty",
        BITS["soft_dirty"],
        1,
        _BOTH,
        "written since clear_refs last cleared this bit",
        _SOURCE,
        "linux",
        "soft_dirty",
        "soft_dirty",
    ),
    Field(
        "mmap_exclusive",
        BITS["mmap_exclusive"],
        1,
        _BOTH,
        "mapped only here (since 4.2)",
        _SOURCE,
        "linux",
        "mmap_exclusive",
    ),
    Field(
        "uffd_wp", BITS["uffd_wp"], 1, _BOTH, "write-protected by userfaultfd (since 5.13)", _SOURCE, "linux", "uffd_wp"
    ),
    Field("guard", BITS["guard"], 1, _SWAP, "guard region (since 6.15)", _SOURCE, "linux"),
    Field("file", BITS["file"], 1, _BOTH, "page of a file, or shared anonymous (since 3.5)", _SOURCE, "linux", "file"),
    Field("swap", BITS["swap"], 1, _SWAP, "swapped, or a special entry in the same layout", _SOURCE, "linux"),
    Field("present", BITS["present"], 1, _PRESENT, "in memory", _SOURCE, "linux"),
)


def columns(word: NDArray[np.uint64], protnone: NDArray[np.bool_], kernel: Kernel) -> dict[str, Column]:
    """Decode words of pagemap.

    Args:
        word: The words, ``uint64[n]``.
        protnone: True for those in a region that allows no access, ``bool[n]``: pagemap calls such pages present.
        kernel: The kernel that they come from.

    Returns:
        The columns that pagemap has, by name.

    """
    n = len(word)
    present, swap = word & PRESENT != 0, word & SWAP != 0
    mapped = present | swap
    found: dict[str, Column] = {}
    for field in FIELDS:
        if field.column and (field.needs is None or field.needs in kernel.features):
            # Of a place in swap, no kernel says who else has it: pte_to_pagemap_entry() has no page to ask.
            there = present if field.column == "mmap_exclusive" else mapped
            found[field.column] = Column(word & np.uint64(field.mask) != 0, ~there)
    location = word & PLACE
    hidden = location == 0  # page frame 0 and offset 0 of device 0 are never a user's page

    state = np.full(n, STATES.index("none"), np.int8)
    state[present] = STATES.index("present")
    state[present & protnone] = STATES.index("protnone")
    state[swap] = STATES.index("swap")  # the kernel's own word, where it hides what exactly
    kind = np.full(n, -1, np.int8)
    pfn, no_pfn = np.where(present, location, np.uint64(0)), ~present | hidden

    found |= {"state": Column(state), "kind": Column(kind), "pfn": Column(pfn, no_pfn)}
    known = np.flatnonzero(swap & ~hidden)
    if len(known):
        offset, kind_of = location[known] >> np.uint64(5), (location[known] & np.uint64(31)).astype(np.uint8)
        part = {"swap_type": Column(kind_of), "swap_offset": Column(offset)}
        swap_columns(part, kind_of, offset, kernel)
        scatter(found, part, known, n)
    guard = word & GUARD != 0
    state[guard], kind[guard] = STATES.index("marker"), KINDS.index("guard")

    # A page that NUMA balancing took access to away is present in pagemap, and not for the CPU.
    in_doubt = present & ~protnone if "numa_balancing" in kernel.features else None
    found["present"] = Column(present & ~protnone, in_doubt)
    return found
