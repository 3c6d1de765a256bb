"""The memory of an array that has its pages for itself, as system calls take it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pte_magic.errors import WorkloadError
from pte_magic.errors.arguments import class_name
from pte_magic.linux.hardware import PAGE_SIZE


class Range(NamedTuple):
    """Addresses, as system calls take them."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """First address after it."""
        return self.start + self.size


def whole_pages(array: np.ndarray[Any, Any]) -> Range:
    """Return the addresses of an array that shares no page with other data.

    Raises:
        WorkloadError: It shares its first or last page with other data.

    """
    where, is_dense = Range(0, 0), False
    if issubclass(type(array), np.ndarray):
        plain = np.ndarray.view(array, np.ndarray)  # a subclass may have its own idea of everything
        where, is_dense = Range(plain.ctypes.data, plain.nbytes), plain.flags.c_contiguous
    if not where.size or not is_dense or where.start % PAGE_SIZE or where.size % PAGE_SIZE:
        message = (
            f"the {class_name(array)} at {where.start:#x}-{where.end:#x} is not an array of whole pages, so other "
            "data would change, too; use one of pte_magic.workloads, such as private_mapping(4)"
        )
        raise WorkloadError(message)
    return where
