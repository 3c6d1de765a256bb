"""The kernel's data about page frames: flags, map count, memory cgroup, NUMA node.

Each function takes page frame numbers (units of the smallest page), in any order and also repeatedly, and returns for
each a value, and whether it is missing. The values are of now, not of the moment when a page table was read.

Sources: fs/proc/page.c, include/uapi/linux/kernel-page-flags.h, Documentation/admin-guide/mm/pagemap.rst.
"""

from __future__ import annotations

import functools
import mmap
import os
from collections import Counter
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.linux import kernel_text, pagemap
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLAGS = {
    "locked": 0,
    "error": 1,
    "referenced": 2,
    "uptodate": 3,
    "dirty": 4,
    "lru": 5,
    "active": 6,
    "slab": 7,
    "writeback": 8,
    "reclaim": 9,
    "buddy": 10,
    "mmap": 11,
    "anon": 12,
    "swapcache": 13,
    "swapbacked": 14,
    "compound_head": 15,
    "compound_tail": 16,
    "huge": 17,
    "unevictable": 18,
    "hwpoison": 19,
    "nopage": 20,
    "ksm": 21,
    "thp": 22,
    "offline": 23,
    "zero_page": 24,
    "idle": 25,
    "pgtable": 26,
}
"""Bit numbers of the flags of `flags`, with the header's names (``KPF_LRU`` is ``lru``)."""

_WORD = 8
_PAST_ALL = np.uint64(1 << 40)  # no physical address has more than 52 bits
_NEAR = 8  # to read this many words more costs less than another call
_AT_ONCE = 1 << 20  # page frames: a longer call would delay interrupts
_NODES = Path("/sys/devices/system/node")
_BLOCK_SIZE = Path("/sys/devices/system/memory/block_size_bytes")


class Told(NamedTuple):
    """A value for each page frame, and a mask of the missing ones.

    Attributes:
        values: ``uint64[n]``; 0 where missing.
        missing: ``bool[n]``.

    """

    values: NDArray[np.uint64]
    missing: NDArray[np.bool_]


class PageFrames(NamedTuple):
    """Data of page frames, as the functions with these names return it."""

    flags: Told
    map_count: Told
    cgroup: Told
    node: Told


def flags(pfn: NDArray[np.uint64]) -> Told:
    """Return the flags of page frames as /proc/kpageflags has them; `FLAGS` names the bits.

    Page frames past the end of memory are missing, and all without the right to open the file, which only root has. A
    page frame that the kernel does not manage, as on a device, has only ``nopage``.

    ``zero_page`` is set for the small zero page and for the huge one, which has ``thp``, too. ``thp`` is set for any
    folio larger than a page that can be mapped (hugetlb's are ``huge``), of any size and however it is mapped; in 6.1
    for any such page that is anonymous or on an LRU list. ``referenced``, ``dirty``, ``lru``, ``active`` and most
    others belong to the whole folio; in 6.1 only its first page frame is certain to have them. Some kernels set ``ksm``
    for every anonymous
    page: see `tells_ksm`.
    """
    (found,) = _read(pfn, "kpageflags")
    return found


@functools.cache
def tells_ksm() -> bool:
    """Tell whether the flag ``ksm`` of an anonymous page really shows that it is merged.

    Since "proc: rewrite stable_page_flags()" (6.10) the kernel tests one of two bits where both must be set, and sets
    the flag for all anonymous pages. 6.12 does, and 6.18 does not any more; a page of our own, not mergeable, shows it.
    """
    with mmap.mmap(-1, PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        with suppress(OSError):  # a kernel without CONFIG_KSM does not know the word
            page.madvise(mmap.MADV_UNMERGEABLE)
        page[0] = 1
        array = np.frombuffer(page, np.uint8)
        word = pagemap.own_word(array.ctypes.data)
        del array  # or the page could not be unmapped
        found = flags(np.array([word & pagemap.PLACE], np.uint64))
    return not int(found.values[0]) >> FLAGS["ksm"] & 1


def map_count(pfn: NDArray[np.uint64]) -> Told:
    """Return the number of page-table entries that map each page frame, from /proc/kpagecount.

    An entry that maps more than a page counts once for each of its page frames. The kernel does not count zero pages
    and page frames that it does not manage: 0. Missing as for `flags`.

    A kernel with CONFIG_NO_PAGE_MAPCOUNT (since 6.15) does not count single pages within a larger folio: the
    value is the rounded average over its pages, and at least 1 if any of them is mapped.
    """
    (found,) = _read(pfn, "kpagecount")
    return found


def cgroup(pfn: NDArray[np.uint64]) -> Told:
    """Return the inode of the memory cgroup to which each page frame is charged; see `memory_cgroups.paths`.

    Missing as for `flags`, where no cgroup is charged, and on a kernel without /proc/kpagecgroup (CONFIG_MEMCG). 6.1
    has it only for the first page frame of a folio.
    """
    (found,) = _read(pfn, "kpagecgroup")
    return _charged(found)


def everything(pfn: NDArray[np.uint64]) -> PageFrames:
    """Return all of these data; quicker than one after the other."""
    flags, map_count, cgroup = _read(pfn, "kpageflags", "kpagecount", "kpagecgroup")
    return PageFrames(flags, map_count, _charged(cgroup), node(pfn))


def _charged(inodes: Told) -> Told:
    values, missing = inodes
    return Told(values, missing | (values == 0))


def _read(pfn: NDArray[np.uint64], *names: str) -> list[Told]:
    """Return words of files of /proc, which are arrays by page frame number, for some page frames."""
    if not len(pfn):
        return [_nothing(0) for _ in names]
    wanted = _wanted(np.minimum(pfn, _PAST_ALL))
    return [_read_file(name, wanted) for name in names]


class _Wanted(NamedTuple):
    """The runs of page frames to read, and the places of the wanted ones among them.

    Attributes:
        start: First page frame of each run, ``int64[k]``, ascending.
        length: Its number of page frames, ``int64[k]``.
        at: Place of each wanted page frame, counted over all runs, ``int64[n]``.

    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    at: NDArray[np.int64]


def _wanted(pfn: NDArray[np.uint64]) -> _Wanted:
    """Find the runs: page frames that are neighbours, or nearly so."""
    frame = pfn.astype(np.int64)
    # Mostly they come in pieces that ascend already; there are far fewer of these to sort.
    begins = np.flatnonzero((np.diff(frame, prepend=-2) != 1) | (frame % _AT_ONCE == 0))
    size = np.diff(begins, append=len(frame))
    first = frame[begins]
    order = np.argsort(first, kind="stable")  # the default is wrong on the AVX2 that QEMU emulates
    start = first[order]
    end = np.maximum.accumulate(start + size[order])
    is_new = np.append(True, (start[1:] > end[:-1] + _NEAR) | (start[1:] // _AT_ONCE != start[:-1] // _AT_ONCE))
    run = np.empty_like(order)
    run[order] = np.cumsum(is_new) - 1
    last = np.append(np.flatnonzero(is_new)[1:], len(start)) - 1
    start = start[is_new]
    length = end[last] - start
    place = (np.cumsum(length) - length)[run] + first - start[run]
    return _Wanted(start, length, np.arange(len(frame)) + np.repeat(place - begins, size))


def _read_file(name: str, wanted: _Wanted) -> Told:
    start, length, at = wanted
    try:
        opened = Path("/proc", name).open("rb", buffering=0)  # noqa: SIM115  (two lines below, where errors are others)
    except (PermissionError, FileNotFoundError):
        return _nothing(len(at))
    with opened as file:  # hundreds of thousands of calls: no line of Python for each
        read = list(map(os.pread, repeat(file.fileno()), (length * _WORD).tolist(), (start * _WORD).tolist()))
    words = b"".join(read)
    if len(words) == length.sum() * _WORD:
        return Told(np.frombuffer(words, np.uint64)[at], np.zeros(len(at), np.bool_))
    # Memory ends before a run does.
    got = np.array([len(part) for part in read]) // _WORD
    words = b"".join(part.ljust(size, b"\0") for part, size in zip(read, (length * _WORD).tolist(), strict=True))
    absent = np.arange(length.sum()) >= np.repeat(np.cumsum(length) - length + got, length.astype(np.intp))
    return Told(np.frombuffer(words, np.uint64)[at], absent[at])


def _nothing(count: int) -> Told:
    return Told(np.zeros(count, np.uint64), np.ones(count, np.bool_))


def node(pfn: NDArray[np.uint64]) -> Told:
    """Return the NUMA node of each page frame.

    The source are sysfs' links from blocks of memory to nodes (drivers/base/node.c), which need no privilege. The
    zones' spans in /proc/zoneinfo are not enough: they have holes, which may have memory of another node
    (``spanned_pages``, include/linux/mmzone.h). Missing outside of memory, for a block of several nodes, and on a
    kernel without such blocks (CONFIG_MEMORY_HOTPLUG).
    """
    blocks = _node_of_blocks()
    if not blocks:
        return _nothing(len(pfn))
    nodes = np.full(max(blocks) + 2, -1, np.int64)
    nodes[list(blocks)] = list(blocks.values())
    frames = int(kernel_text.text(_BLOCK_SIZE), 16) // PAGE_SIZE
    found = nodes[np.minimum(pfn // np.uint64(frames), np.uint64(len(nodes) - 1))]
    return Told(found.clip(0).astype(np.uint64), found < 0)


def _node_of_blocks() -> dict[int, int]:
    """Return the node of each block of memory that has only one node."""
    links = [(int(path.name[6:]), int(path.parent.name[4:])) for path in _NODES.glob("node[0-9]*/memory[0-9]*")]
    times = Counter(block for block, _ in links)
    return {block: of_node for block, of_node in links if times[block] == 1}
