"""Pools of Python's small objects (obmalloc): where they are, and how much of them is in use.

Python tells their number only (`sys.getallocatedblocks`). But each pool begins with a header that cannot be mistaken:
``struct pool_header``, Objects/obmalloc.c, since 3.10 at each 16 KiB of an arena. It is read through /proc/self/mem: a
page that is unmapped meanwhile is an error there, and no crash.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

POOL = 16 << 10
ARENA = 1 << 20
_HEADER = np.dtype([
    ("count", "<u4"), ("unused", "<u4"), ("free", "<u8"), ("next", "<u8"), ("previous", "<u8"),
    ("arena", "<u4"), ("class", "<u4"), ("offset", "<u4"), ("greatest", "<u4"),
])  # fmt: skip
_STEP, _CLASSES = 16, 32  # bytes from one size of blocks to the next, and how many there are
_MOST = 1 << 18  # places that are looked at
_NEAR = 0.2  # the counts may differ from Python's own so much, as other threads go on


class Pools(NamedTuple):
    """Pools of this process.

    Attributes:
        start: Their addresses, ascending, ``uint64[n]``.
        used: Bytes of the blocks in use, ``uint64[n]``.

    """

    start: NDArray[np.uint64]
    used: NDArray[np.uint64]


def pools(places: Iterable[NDArray[np.uint64]]) -> Pools:
    """Return the pools at some addresses; none if they are not as many blocks as Python says there are.

    Args:
        places: Addresses of resident memory, multiples of `POOL`, in arrays.

    """
    at = np.concatenate([np.empty(0, np.uint64), *places])[:_MOST]
    with deferred():
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        read = [_header(memory, address) for address in at.tolist()]
    finally:
        os.close(memory)
    header = np.frombuffer(b"".join(read), _HEADER)
    size = (header["class"].astype(np.int64) + 1) * _STEP
    valid = (header["class"] < _CLASSES) & (header["greatest"] == POOL - size)
    valid &= (header["offset"] >= _HEADER.itemsize + size) & (header["offset"] <= POOL)
    valid &= (header["offset"] - _HEADER.itemsize) % size == 0
    valid &= header["count"] <= (POOL - _HEADER.itemsize) // size
    valid &= (header["free"] == 0) | (header["free"] - at < POOL)
    found = Pools(at[valid], (header["count"] * size)[valid].astype(np.uint64))
    blocks = int(header["count"][valid].sum())
    told = sys.getallocatedblocks()
    return found if abs(blocks - told) <= _NEAR * told else Pools(found.start[:0], found.used[:0])


def _header(memory: int, address: int) -> bytes:
    try:
        return os.pread(memory, _HEADER.itemsize, address).ljust(_HEADER.itemsize, b"\xff")
    except OSError:  # it was just unmapped
        return b"\xff" * _HEADER.itemsize


def arenas(found: Pools) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return ranges with all pools, ascending: nearer than an arena, what lies between them is of an arena, too."""
    if not len(found.start):
        return found.start, found.start
    apart = np.diff(found.start) > ARENA
    return found.start[np.append(True, apart)], found.start[np.append(apart, True)] + np.uint64(POOL)
