"""Kinds of faults: of real entries, read before and after memory is touched in known ways."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import forked, needs_root
from handmade import (
    ANONYMOUS,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    madvise,
    mprotect,
    read,
    write,
)

import pte_magic
from pte_magic.events import fault_kinds
from pte_magic.events.fault_kinds import KINDS
from pte_magic.events.fault_record import MAJOR, NOT_READ, REFUSED, UNFINISHED
from pte_magic.formats import kernel
from pte_magic.linux.address_space import own

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from handmade import NewMap
    from numpy.typing import NDArray

    from pte_magic.walkers.entries import Entries

pytestmark = needs_root


def raw(address: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return the entry at which the walk to an address ends, and its level."""
    found: Entries = pte_magic.entries(address)
    return found.entry[-1:], found.level[-1:].astype(np.uint8)


def kind(address: int, touch: Callable[[], object], flags: int = 0) -> tuple[str, int]:
    """Return the kind of the fault that a touch makes, and the bytes that it brought."""
    before = raw(address)
    touch()
    after = raw(address)
    here = kernel.here()
    decoded = fault_kinds.decoded(*before, here), fault_kinds.decoded(*after, here)
    backing = fault_kinds.backings(own().regions(), np.array([address], np.uint64))
    found = fault_kinds.kinds(*decoded, backing, np.array([flags], np.uint8))
    return KINDS[found[0]], int(fault_kinds.brought(found, decoded[1])[0])


def test_first_touches(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    assert kind(address, lambda: write(address)) == ("first touch: fresh page", PAGE)
    other = address + PAGE
    assert kind(other, lambda: read(other)) == ("first touch: page of zeros", 0)
    assert kind(other, lambda: write(other)) == ("copy-on-write of the page of zeros", PAGE)
    assert kind(other, lambda: write(other))[0] == "spurious"


def test_huge_pages(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    write(address)
    if pte_magic.walk(address)["size"].iloc[-1] != HUGE:
        pytest.skip("the kernel gives no huge page here")
    madvise(address, HUGE, 4)
    assert kind(address, lambda: write(address)) == ("first touch: fresh huge page", HUGE)
    madvise(address, HUGE, 4)
    found = kind(address, lambda: read(address))
    assert found in {("first touch: page of zeros", 0), ("first touch: fresh huge page", HUGE)}


def test_a_page_is_shared_with_a_child_until_somebody_writes(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    with forked(lambda: None):
        assert kind(address, lambda: write(address)) == ("copy-on-write", PAGE)
    with forked(lambda: None):
        pass
    assert kind(address, lambda: write(address)) == ("made writable", 0)


def test_files_and_shared_memory(new_map: NewMap, tmp_path: Path) -> None:
    shared = new_map(PAGE, READ | WRITE, SHARED | ANONYMOUS)
    assert kind(shared, lambda: write(shared)) == ("page of shared memory", PAGE)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4 * PAGE)
    fd = os.open(path, os.O_RDWR)
    try:
        mapped = new_map(4 * PAGE, READ, SHARED, fd)
        assert kind(mapped, lambda: read(mapped)) == ("page cache", PAGE)
        other = new_map(4 * PAGE, READ, SHARED, fd)
        assert kind(other, lambda: read(other), MAJOR) == ("page cache, read from disk", PAGE)
        private = new_map(4 * PAGE, READ | WRITE, PRIVATE, fd)
        assert kind(private, lambda: write(private)) == ("copy-on-write", PAGE)
    finally:
        os.close(fd)


def test_protection_that_is_given_back(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    none = np.zeros(1, np.uint64), np.array([NOT_READ], np.uint8)
    here = kernel.here()
    mprotect(address, PAGE, READ)
    protected = fault_kinds.decoded(*raw(address), here)
    mprotect(address, PAGE, READ | WRITE)
    write(address)
    now, unread = fault_kinds.decoded(*raw(address), here), fault_kinds.decoded(*none, here)
    backing = np.zeros(1, np.uint8)

    def of(before: fault_kinds.Entry, after: fault_kinds.Entry, flags: int = 0) -> str:
        return KINDS[fault_kinds.kinds(before, after, backing, np.array([flags], np.uint8))[0]]

    assert of(protected, now) == "made writable"
    assert of(now, now) == "spurious"
    assert of(unread, unread) == "minor"
    assert of(unread, unread, MAJOR) == "major"
    assert of(unread, unread, REFUSED) == "refused"
    assert of(now, unread, UNFINISHED) == "unfinished"
    assert fault_kinds.brought(np.array([KINDS.index("minor")], np.int8), unread).tolist() == [0]


def test_an_address_outside_of_all_regions_has_no_backing() -> None:
    with mmap.mmap(-1, PAGE) as shared:
        address = np.frombuffer(shared, np.uint8).ctypes.data
        regions = own().regions()
        found = fault_kinds.backings(regions, np.array([1, address, 1 << 62], np.uint64))
    assert found.tolist() == [fault_kinds.ANONYMOUS, fault_kinds.SHARED, fault_kinds.ANONYMOUS]
    assert fault_kinds.backings([], np.array([1], np.uint64)).tolist() == [fault_kinds.ANONYMOUS]
