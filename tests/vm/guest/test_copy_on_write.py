"""Pages that are copied because two processes share them and one writes: they are there all the time."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
from entry_bits import address_mask
from handmade import HUGE, NOHUGEPAGE, PAGE, PM_PFN, libc, words, write
from test_migration import LOCKLESS, WALKERS

from pte_magic import walkers
from pte_magic.linux.address_space import own

if TYPE_CHECKING:
    from handmade import NewMap
    from numpy.typing import NDArray

PAGES = HUGE // PAGE
SECONDS, ENOUGH = 15, 20


def copied(address: int) -> dict[str, int]:
    """Have all pages copied while all walkers look; fail if they saw other frames; return how often who saw nothing."""
    empty = dict.fromkeys(WALKERS, 0)
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        old = words(address, HUGE) & np.uint64(PM_PFN)
        writing = threading.Thread(
            target=libc.memset, args=(ctypes.c_void_p(address), 1, ctypes.c_size_t(HUGE))
        )  # which waits for no lock of Python's
        found: dict[str, list[NDArray[np.uint64]]] = {name: [] for name in WALKERS}
        writing.start()
        while writing.is_alive():
            for name, entries in found.items():
                entries.append(walkers.get(name).walk(own(), address, address + HUGE).entry)
        writing.join()
        new = words(address, HUGE) & np.uint64(PM_PFN)
        assert (old != new).all()
        for name, entries in found.items():
            for entry in entries:
                assert len(entry) == PAGES
                frame = (entry & address_mask()) // np.uint64(PAGE)
                assert ((frame == old) | (frame == new) | (entry == 0)).all()
                empty[name] += int((entry == 0).sum())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return empty


def test_page_that_is_copied_is_never_empty(new_map: NewMap) -> None:
    """The kernel empties its entry, tells the other CPUs, and fills it again: time enough for who takes no lock."""
    address = new_map(HUGE, advice=NOHUGEPAGE)
    write(address, HUGE)
    empty, until = dict.fromkeys(WALKERS, 0), time.monotonic() + SECONDS
    # Until somebody could have seen it; those without the lock may.
    while time.monotonic() < until and min(empty[name] for name in LOCKLESS) < ENOUGH:
        for name, count in copied(address).items():
            empty[name] += count
    assert not any(count for name, count in empty.items() if name not in LOCKLESS), empty
