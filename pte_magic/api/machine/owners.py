"""The owner of each page frame: a process, several processes, the page cache, the kernel, or nobody."""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.api import progress
from pte_magic.api.machine import visiting
from pte_magic.api.machine.mapped import frames
from pte_magic.errors import TargetError
from pte_magic.linux import kernel_text, page_frames
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.walkers.walker import Walker

KINDS = ("other processes", "several processes", "page cache", "kernel", "hugetlb pool", "free", "no memory")
"""Owners beside the named processes; their codes go on after those of these."""

_OTHER, _SEVERAL, _CACHE, _KERNEL, _POOL, _FREE, _NONE = range(len(KINDS))
_AT_ONCE = 1 << 18  # page frames whose flags are read at once: no folio crosses a multiple of it
_RAM = re.compile(rb" *([0-9a-f]+)-([0-9a-f]+) : System RAM")
_SHARED = np.uint16((1 << 16) - 1)  # instead of a process' number


class Owners(NamedTuple):
    """The owners of the page frames from 0 on.

    Attributes:
        names: The owners.
        codes: For each page frame an index into `names`, ``uint8[n]``.

    """

    names: tuple[str, ...]
    codes: NDArray[np.uint8]


def owners(pids: Sequence[int], names: Sequence[str], reader: Walker) -> Owners:
    """Find the owner of each page frame.

    A page frame belongs to the process that maps it; page frames that no process maps belong to the page cache, the
    kernel or nobody. Takes three bytes per page frame of the host.

    Args:
        pids: Processes to walk; the kernel's map counts show the pages of other processes.
        names: Names of the first of them.
        reader: The walker.

    Raises:
        TargetError: This user does not see page frames, or the kernel's data about them.

    """
    kinds = [_kind(flags) for flags in _flags()]
    if not kinds or not visiting.sees_frames(reader):
        message = "a picture of physical memory needs page frames and /proc/kpageflags, which only root can read"
        raise TargetError(message)
    kind = np.concatenate(kinds)
    kind[~_memory(len(kind))] = _NONE
    number = np.zeros(len(kind), np.uint16)
    with progress.bar("owners", len(pids), "process") as bar:
        for at, pid in enumerate(pids, 1):
            claim = functools.partial(_claim, reader=reader, number=number, mine=min(at, int(_SHARED) - 1))
            visiting.with_space(pid, {}, claim)
            bar.update()
    named = len(names)
    code = kind + np.uint8(named)
    code[number > named] = named + _OTHER
    code[number == _SHARED] = named + _SEVERAL
    known = (number > 0) & (number <= named)
    code[known] = (number[known] - 1).astype(np.uint8)
    return Owners((*names, *KINDS), code)


def _flags() -> Iterator[NDArray[np.uint64]]:
    for first in itertools.count(0, _AT_ONCE):
        values, missing = page_frames.flags(np.arange(first, first + _AT_ONCE, dtype=np.uint64))
        if not missing.all():
            yield values[~missing]
        if missing.any():
            return


def _memory(count: int) -> NDArray[np.bool_]:
    """Tell which of the first page frames are memory: in a hole, flags may exist, but are all zero."""
    is_ram = np.zeros(count, np.bool_)
    for found in filter(None, map(_RAM.match, kernel_text.lines(kernel_text.read("/proc/iomem")))):
        is_ram[int(found[1], 16) // PAGE_SIZE : int(found[2], 16) // PAGE_SIZE + 1] = True
    return is_ram


def _kind(flags: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the owner, by their flags, of page frames that no walked process maps: an index into `KINDS`."""

    def has(name: str) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = flags & np.uint64(1 << page_frames.FLAGS[name]) != 0
        return found

    # In 6.1, only the first page frame of a folio has its flags.
    here = np.arange(len(flags))
    flags = flags | flags[np.maximum.accumulate(np.where(has("compound_tail"), 0, here))]
    asked = {
        _NONE: has("nopage"),
        _FREE: has("buddy"),
        _OTHER: has("mmap"),
        _POOL: has("huge"),
        _CACHE: has("lru") | has("swapbacked"),
    }
    return np.select(list(asked.values()), [np.uint8(code) for code in asked], np.uint8(_KERNEL))


def _claim(space: AddressSpace, reader: Walker, number: NDArray[np.uint16], mine: int) -> None:
    """Write a process' number to the page frames that it maps, or `shared` if another process maps them, too."""
    if visiting.borrowed(space):
        return
    for piece in visiting.pieces(space, reader):
        for pfn in frames(piece):
            at = pfn[pfn < len(number)]
            now = number[at]
            number[at] = np.where((now == 0) | (now == mine), np.uint16(mine), _SHARED)
