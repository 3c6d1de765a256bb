"""Thousands of questions to the module of the stap walker, and targets that go away, leave nothing in the kernel."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import descriptors, forked
from handmade import PAGE
from waiting import SECONDS, wait_until

from pte_magic.errors import NoAddressSpaceError
from pte_magic.linux.address_space import AddressSpace, own

if TYPE_CHECKING:
    from pte_magic.walkers.stap import StapWalker


def slab(name: str) -> int:
    """Objects of a kernel cache in use; what was freed on other processors is given back first."""
    Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
    line = next(line for line in Path("/proc/slabinfo").read_text().splitlines() if line.split()[0] == name)
    return int(line.split()[1])


def vmalloc_bytes() -> int:
    lines = Path("/proc/vmallocinfo").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines)


def test_ten_thousand_queries_leak_nothing(stap: StapWalker) -> None:
    page = np.ones(PAGE, np.uint8)
    address = page.ctypes.data // PAGE * PAGE
    with forked(lambda: None) as child, AddressSpace(child.pid) as space:
        for one in (own(), space):  # what is opened once is open now
            stap.walk(one, address, address + PAGE)
        before = descriptors(), vmalloc_bytes(), slab("mm_struct"), slab("filp")
        for _ in range(5_000):
            stap.walk(own(), address, address + PAGE)
            stap.walk(space, address, address + PAGE)
        after = descriptors(), vmalloc_bytes(), slab("mm_struct"), slab("filp")
    assert after[0] == before[0]
    assert after[1] - before[1] < 1 << 20  # of all the kernel's; a page for each query would be 40 MiB
    assert after[2] - before[2] < 50  # of 10,000; slabs of CPUs make the count inexact
    assert after[3] - before[3] < 200


def test_a_target_that_exits_is_let_go(stap: StapWalker) -> None:
    """No reference to an address space may stay behind: its memory would never be freed."""
    size = 64 << 20
    libc = ctypes.CDLL(None)

    def fill() -> int:
        libc.mmap.restype = ctypes.c_void_p
        address = int(libc.mmap(None, ctypes.c_size_t(size), 3, 0x22, -1, ctypes.c_long(0)))
        ctypes.memset(address, 1, size)
        return address

    before = _anonymous()
    for _ in range(4):
        with forked(fill) as child, AddressSpace(child.pid) as space:
            address = child.step()
            stap.walk(space, address, address + size)
            os.kill(child.pid, signal.SIGKILL)
            until = time.monotonic() + SECONDS
            with pytest.raises(NoAddressSpaceError):
                _walk_until(until, stap, space, address, size)
    wait_until(lambda: _anonymous() < before + size // 2)


def _walk_until(until: float, stap: StapWalker, space: AddressSpace, address: int, size: int) -> None:
    while time.monotonic() < until:
        stap.walk(space, address, address + size)


def _anonymous() -> int:
    """Bytes of anonymous pages that some process maps. Free ones are no measure: each CPU keeps a store of them."""
    found = re.search(r"AnonPages:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    assert found
    return int(found[1]) << 10
