"""The names of the columns of a frame of page-table entries, in order; pandas is not needed to know them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pte_magic.formats.registry import FORMATS

if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel

WHERE = ("vaddr", "size")
FORMAT = "format"
"""The column that says of which kernel the entry of each row is: see `row_kernels`."""
_ORIGIN = ("host", "pid", "walker", FORMAT)
OF_PAGEMAP = ("file", "mmap_exclusive")
"""Columns that no entry has."""
BOOLEANS = tuple(
    dict.fromkeys((*(name for found in FORMATS.values() for name in found.columns), *OF_PAGEMAP)),
)
"""Columns of dtype boolean that frames may have, with the kernel's names of the bits."""


@functools.cache
def decoded(kernel: Kernel) -> tuple[str, ...]:
    """Return the columns that decoded entries of a kernel have, in order; only those of its format."""
    found = kernel.format
    names = (
        *("level", "entry", "state", "kind", "pfn"),
        *(found.columns + OF_PAGEMAP),
        *(("mapped",) if found.contiguous else ()),
        *("cache", *found.numbers, "swap_type", "swap_offset"),
    )
    return tuple(name for name in names if found.optional.get(name) in {None, *kernel.features})


@functools.cache
def of_walk(kernel: Kernel) -> tuple[str, ...]:
    """Return all columns of a frame of entries of a kernel, in order."""
    return (*WHERE, *decoded(kernel), *_ORIGIN)
