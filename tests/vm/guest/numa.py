"""Nodes of memory, and how pages are moved from one to the other."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from handmade import PAGE, check, libc

from pte_magic.linux.system_calls import number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_MOVE_ALL = 4  # MPOL_MF_MOVE_ALL: also pages that several processes map
_BIND = 2  # MPOL_BIND


def move(address: int, pages: int, node: int, step: int = PAGE, pid: int = 0) -> NDArray[np.int32]:
    """Move pages of a process (0: this one) to a node; return of each where it is now, or a negative error."""
    return _move_pages(address, pages, step, np.full(pages, node, np.int32), pid)


def nodes(address: int, pages: int) -> list[int]:
    """Ask move_pages(2) on which node each page is."""
    return [int(node) for node in _move_pages(address, pages, PAGE, None)]


def _move_pages(address: int, pages: int, step: int, to: NDArray[np.int32] | None, pid: int = 0) -> NDArray[np.int32]:
    where = address + np.arange(pages, dtype=np.uint64) * np.uint64(step)
    status = np.full(pages, -1, np.int32)
    target = None if to is None else ctypes.c_void_p(to.ctypes.data)
    places = (ctypes.c_void_p(where.ctypes.data), target, ctypes.c_void_p(status.ctypes.data))
    check(libc.syscall(number("move_pages"), pid, ctypes.c_ulong(pages), *places, _MOVE_ALL))
    return status


def bind(address: int, size: int, node: int) -> None:
    """Have new pages of a range come from one node."""
    mask = ctypes.c_ulong(1 << node)
    where = (ctypes.c_void_p(address), ctypes.c_ulong(size))
    check(libc.syscall(number("mbind"), *where, _BIND, ctypes.byref(mask), ctypes.c_ulong(64), 0))


def nodes_of_frames(frames: Iterable[int]) -> set[int]:
    """Ask sysfs to which nodes page frames belong."""
    memory = Path("/sys/devices/system/memory")
    size = int((memory / "block_size_bytes").read_text(encoding="ascii"), 16)
    blocks = {int(frame) * PAGE // size for frame in frames}
    return {int(link.name[4:]) for block in blocks for link in (memory / f"memory{block}").glob("node*")}
