"""What several sources say of the same pages must be one and the same: both walkers in the kernel, the kernel's own
memory in /proc/kcore, and /proc/PID/pagemap. Nothing here uses what pte_magic knows of bits."""

from __future__ import annotations

import functools
import os
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from conftest import by_page, walked
from entry_bits import address_mask, bits
from handmade import PAGE, words

from pte_magic import walkers
from pte_magic.api import pte_frame
from pte_magic.errors import WalkerUnavailableError
from pte_magic.formats import kernel
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.walkers.entries import Entries

U = np.uint64
PTE = LEVELS.index("pte")
# Documentation/admin-guide/mm/pagemap.rst; entries say nothing of who else maps a page, and what it is a page of.
NOT_IN_ENTRIES = U(1 << 56 | 1 << 61)
PRESENT, SWAP, GUARD, UFFD_WP, SOFT_DIRTY = (U(1 << bit) for bit in (63, 62, 58, 57, 55))
MARKER_TYPES = (30, 31)  # 30 before 6.2
SMALL = U((1 << 34) - 1)  # no frame of a guest and no place on its disks is larger; migration has flags above


@functools.cache
def raw_walkers() -> tuple[str, ...]:
    """Return the walkers in the kernel that work here; which ones have to is in test_agreement.py."""
    found = tuple(name for name in ("bpf", "stap") if not isinstance(walkers.attempt(name), WalkerUnavailableError))
    assert found
    return found


def agree(start: int, size: int = PAGE, pid: int | None = None) -> pte_frame.PteFrame:
    """Fail unless all sources agree on pages that are at rest; return what the first walker found, decoded."""
    end = start + size
    with AddressSpace(pid) as space:
        before = words(start, size, space.pid)
        full = [walkers.get(name).walk(space, start, end, tables=True) for name in raw_walkers()]
        leaves = [walkers.get(name).walk(space, start, end) for name in raw_walkers()]
        assert (words(start, size, space.pid) == before).all(), "these pages are not at rest"
        for first, *others in (full, leaves):
            for name in ("entry", "vaddr", "level", "size"):
                assert all(np.array_equal(getattr(first, name), getattr(other, name)) for other in others), name
        _is_in_kernel_memory(full[0])
        flags = vm_flags(start, space.pid)
        assert (before & ~NOT_IN_ENTRIES == _expected(leaves[0], start, end, flags)).all()
        found = pte_frame.build(leaves[0], kernel.running(), pid=space.pid)
        _says_the_same(found, walked("pagemap", space, start, end), start, end, flags)
    return found


def _expected(found: Entries, start: int, end: int, flags: set[str]) -> NDArray[np.uint64]:
    """Say of each page what its word in pagemap must be, given the raw entry (``pte_to_pagemap_entry()``)."""
    address = np.arange(start, end, PAGE, dtype=np.uint64)
    row = np.searchsorted(found.vaddr, address, side="right") - 1
    entry, size = found.entry[row], found.size[row]
    within = (address - found.vaddr[row]) // U(PAGE)
    has = bits()
    valid = entry & U(has.valid) != 0
    present = valid | (entry & U(has.kept) != 0)
    upright = np.where(valid | (not has.inverted), entry, ~entry)  # against L1TF
    frames = (upright & address_mask() & ~(size - U(1))) // U(PAGE) + within
    word = np.where(present, PRESENT | frames | _moved(entry, has.uffd_wp, 0, UFFD_WP), U(0))
    type_ = _part(entry, has.swap_type)
    offset = _part(~entry if has.inverted else entry, has.swap_offset) & SMALL
    is_marker = np.isin(type_, MARKER_TYPES) & (entry != 0) & ~present
    if "ht" not in flags:
        # Of hugetlb pages pagemap tells neither special entries nor soft-dirty.
        word |= np.where(present, _moved(entry, has.soft_dirty, 0, SOFT_DIRTY), U(0))
        swap = SWAP | type_ | (offset + within) << U(5)
        swap |= _moved(entry, has.uffd_wp, 1, UFFD_WP) | _moved(entry, has.soft_dirty, 1, SOFT_DIRTY)
        swap |= np.where(is_marker, _moved(offset, (0,), 0, UFFD_WP) | _moved(offset, (2,), 0, GUARD), U(0))
        word |= np.where((entry != 0) & ~present, swap, U(0))
    else:
        word |= np.where(is_marker, _moved(offset, (0,), 0, UFFD_WP), U(0))
    return word | (SOFT_DIRTY if "sd" in flags else U(0))  # a region that is new is soft-dirty as a whole


def _moved(value: NDArray[np.uint64], places: tuple[int, ...] | None, at: int, to: np.uint64) -> NDArray[np.uint64]:
    """Return `to` where one of the bits with these numbers is set; nowhere if the kernel has none."""
    if places is None:
        return np.zeros(len(value), np.uint64)
    return np.where(value >> U(places[at]) & U(1) == 1, to, U(0))


def _part(value: NDArray[np.uint64], place: tuple[int, int]) -> NDArray[np.uint64]:
    """Return what some bits hold, from the lowest of them on, so many."""
    low, width = place
    return value >> U(low) & U((1 << width) - 1)


def _says_the_same(found: pte_frame.PteFrame, told: pte_frame.PteFrame, start: int, end: int, flags: set[str]) -> None:
    """Compare the eBPF walker's columns to the pagemap walker's."""
    ours, theirs = by_page(found, start, end), by_page(told, start, end)
    if "rd" in flags:  # NUMA balancing took access away for a while; pagemap says nothing of that
        ours["state"] = np.where(ours["state"] == "protnone", "present", ours["state"])
    hidden = ~np.isin(ours["state"], ["present", "protnone"]) & ("ht" in flags)
    for name in ("state", "kind", "pfn", "swap_type", "swap_offset"):
        assert (ours[name] == theirs[name])[~hidden].all(), name
    for name in ("present", "uffd_wp", *(() if {"ht", "sd"} & flags else ("soft_dirty",))):
        if name not in ours or name not in theirs:  # no such bit on this architecture
            continue
        known = (ours[name] >= 0) & (theirs[name] >= 0) & ~hidden
        assert (ours[name][known] == theirs[name][known]).all(), name


def _is_in_kernel_memory(found: Entries) -> None:
    """Read every table that was passed on the way in /proc/kcore: its entries must be those that come after it."""
    level, entry, vaddr, size = found.level, found.entry, found.vaddr, found.size
    mask, value = bits().table
    table = (level < PTE) & (entry & U(mask) == value)
    for at in np.flatnonzero(table):
        after = level[at + 1 :]
        ends = np.flatnonzero(after <= level[at])
        below = at + 1 + np.flatnonzero(after[: ends[0] if ends.size else None] == after[0])
        try:
            content = physical(int(entry[at] & address_mask()))
        except LookupError:
            if hardware.machine() != "x86_32":  # of high memory the kernel has no map
                raise
            continue
        if hardware.encoding() == "x86_32":
            content = content.view(np.uint32).astype(np.uint64)
        index = (vaddr[below] // size[below]) % U(len(content))
        different = np.flatnonzero(content[index] != entry[below])
        assert not different.size, [
            (hex(vaddr[below][i]), hex(entry[below][i]), hex(content[index][i])) for i in different
        ]


def physical(address: int) -> NDArray[np.uint64]:
    """Return the page at a physical address as ``uint64[PAGE / 8]``, from the kernel's map of all memory."""
    fd, segments = _kcore()
    for offset, first, size in segments:
        if first <= address < first + size:
            return np.frombuffer(os.pread(fd, PAGE, offset + address - first), np.uint64)
    raise LookupError(hex(address))


@functools.cache
def _kcore() -> tuple[int, list[tuple[int, int, int]]]:
    """Return /proc/kcore, open, and of its segments: place in the file, physical address, size."""
    fd = os.open("/proc/kcore", os.O_RDONLY)
    head = os.pread(fd, 64, 0)
    if hardware.machine() == "x86_32":  # Elf32_Ehdr and Elf32_Phdr of elf.h
        (start,), (count,) = struct.unpack_from("<I", head, 28), struct.unpack_from("<H", head, 44)
        headers = [struct.unpack("<IIIIIIII", os.pread(fd, 32, start + 32 * i)) for i in range(count)]
        found = [(kind, offset, first, size) for kind, offset, _, first, size, *_ in headers]
    else:
        (start,), (count,) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<H", head, 56)
        wide = [struct.unpack("<IIQQQQQQ", os.pread(fd, 56, start + 56 * i)) for i in range(count)]
        found = [(kind, offset, first, size) for kind, _, offset, _, first, size, *_ in wide]
    # A segment that is not of memory that lies side by side has the physical address -1.
    return fd, [(offset, first, size) for kind, offset, first, size in found if kind == 1 and first % PAGE == 0]


def vm_flags(address: int, pid: int | str = "self") -> set[str]:
    """Return the two-letter flags that smaps gives for the region of an address; none if there is no region."""
    inside = False
    with Path(f"/proc/{pid}/smaps").open(encoding="utf-8") as file:  # long: not read further than needed
        for line in file:
            if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                inside = int(found[1], 16) <= address < int(found[2], 16)
            elif inside and line.startswith("VmFlags:"):
                return set(line.split()[1:])
    return set()


def kpageflags(frame_number: int) -> int:
    with Path("/proc/kpageflags").open("rb", buffering=0) as file:
        return int.from_bytes(os.pread(file.fileno(), 8, frame_number * 8), "little")
