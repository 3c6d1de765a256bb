"""NUMA nodes, the memory of each processor: the node of each page, and how to move pages to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.errors import WorkloadError, arguments
from pte_magic.linux import system_calls
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.workloads.whole_pages import whole_pages

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MPOL_MF_MOVE = 2


def nodes(array: np.ndarray[Any, Any]) -> NDArray[np.int32]:
    """Return the NUMA nodes of an array's pages: move_pages(2).

    Args:
        array: Whole pages.

    Returns:
        ``int32[pages]``: the node of each page; below 0, a page that is not in memory (``-errno``).

    Raises:
        WorkloadError: The array does not consist of whole pages, or a container's filter forbids the system call.

    """
    return _move_pages(array, None)


def move_to(node: int, array: np.ndarray[Any, Any]) -> NDArray[np.int32]:
    """Move the pages of an array to a node: move_pages(2). Their addresses stay, their page frames do not.

    Args:
        node: Number of the node.
        array: Whole pages that only this process maps.

    Returns:
        The nodes afterwards, as for `nodes`; below 0, a page that could not be moved (``-errno``).

    Raises:
        WorkloadError: There is no such node, or as for `nodes`.

    """
    return _move_pages(array, arguments.integer(node, "node", "type 0, for example", error=WorkloadError))


def _move_pages(array: np.ndarray[Any, Any], node: int | None) -> NDArray[np.int32]:
    where = whole_pages(array)
    pages = np.arange(where.start, where.end, PAGE_SIZE, dtype=np.uintp)  # an array of pointers
    status = np.full(len(pages), -1, np.int32)
    target = None if node is None else np.full(len(pages), node, np.int32)
    at = 0 if target is None else target.ctypes.data
    try:
        system_calls.call("move_pages", 0, len(pages), pages.ctypes.data, at, status.ctypes.data, _MPOL_MF_MOVE)
    except PermissionError as error:  # ENOSYS, EINVAL and so on are about nodes
        message = "move_pages(2) is not permitted here; a container needs --security-opt seccomp=unconfined for it"
        raise WorkloadError(message) from error
    except OSError as error:
        what = "move_pages(2)" if node is None else f"node {node}"
        message = f"{what}: {error.strerror}; see /sys/devices/system/node/online for the existing nodes"
        raise WorkloadError(message) from error
    return status
