"""What a member of stapusr sees through the module: all of each entry, but no page frame and no place on a swap device.

The independent source is what root's walkers read of the same pages, after `formats.hidden.hide`, tested elsewhere.
"""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from agreement import PTE
from conftest import RAW, forked, walked
from entry_bits import address_mask, bits
from handmade import (
    GUARD_INSTALL,
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    PAGE,
    READ,
    NewMap,
    madvise,
    mprotect,
    pfn,
    read,
    write,
)
from loaded import wait_until_nothing_is_left
from member import member, module_installed, seen
from numa import bind, move
from poison import HWPOISON
from swapping import areas, fill, page_out, swap_off, swap_on, zram
from test_hwpoison import broken
from waiting import SECONDS

from pte_magic import walkers
from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.formats.hidden import hide
from pte_magic.linux import hardware
from pte_magic.linux.address_bits import PLAIN, AddressBits
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.walkers.entries import Entries
from pte_magic.walkers.stap import StapWalker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["broken"]  # a fixture

SIZE = 4 * HUGE
POISONED = 40 * PAGE
ATTEMPTS = 5


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    with module_installed():
        yield
    wait_until_nothing_is_left()


@pytest.fixture
def area() -> Iterator[Path]:
    """The second of two places to swap to, which is preferred."""
    with zram("32M") as first, zram("32M") as second:
        swap_on(first, priority=1)
        swap_on(second, priority=2)
        yield second
        swap_off(first)
        swap_off(second)


def hidden(entry: NDArray[np.uint64], level: NDArray[np.int8], bits: AddressBits = PLAIN) -> NDArray[np.uint64]:
    entry = entry.copy()
    hide(entry, level, kernel.running(bits))
    return entry


def make_pages_of_all_kinds(address: int) -> None:
    signal.signal(signal.SIGBUS, lambda *_: None)  # since 6.11 who has a page broken is told at once
    fill(address, 128)
    write(address + HUGE, 2 * HUGE)
    madvise(address + POISONED, PAGE, HWPOISON)
    page_out(address + 64 * PAGE, 64 * PAGE)
    mprotect(address + 8 * PAGE, 8 * PAGE, NONE)
    mprotect(address + HUGE, HUGE, NONE)
    read(address + 200 * PAGE)
    with suppress(OSError):  # since 6.13
        madvise(address + 300 * PAGE, 2 * PAGE, GUARD_INSTALL)


def test_all_but_the_place_of_a_page_is_seen(new_map: NewMap, broken: list[int], area: Path) -> None:
    address = new_map(SIZE)
    madvise(address, HUGE, NOHUGEPAGE)
    madvise(address + HUGE, 2 * HUGE, HUGEPAGE)
    end = address + SIZE
    make = (lambda: write(address, 128 * PAGE), lambda: make_pages_of_all_kinds(address))

    def look() -> list[Any]:
        return [seen(own(), address, end, tables=tables) for tables in (False, True)]

    with forked(*make, member, *(look,) * ATTEMPTS) as child:
        child.step()
        broken.append(pfn(address + POISONED, child.pid))
        child.step()
        child.step()
        with AddressSpace(child.pid) as space:
            table = walked(RAW, space, address, end)
            for _ in range(ATTEMPTS):
                before = [walkers.get(RAW).walk(space, address, end, tables=tables) for tables in (False, True)]
                looks = child.step()
                after = [walkers.get("stap").walk(space, address, end, tables=tables) for tables in (False, True)]
                if all(np.array_equal(raw.entry, again.entry) for raw, again in zip(before, after, strict=True)):
                    break
            else:  # reclaim may clear the mark of an access meanwhile, but not each time
                pytest.fail(f"these pages are not at rest at {ATTEMPTS} attempts")
        for (entry, spans, frames_hidden), (raw, again) in zip(looks, zip(before, after, strict=True), strict=True):
            assert (frames_hidden, again.frames_hidden) == (True, False)
            assert spans == raw.spans.tobytes()
            different = np.flatnonzero(entry != hidden(raw.entry, raw.level, raw.address_bits))
            assert not different.size, [(hex(raw.entry[i]), hex(entry[i])) for i in different[:9]]
    assert {"none", "present", "protnone", "swap", "hwpoison"} <= set(table["state"])
    assert set(table["level"][table["state"].isin(["present", "protnone"])]) == {"pte", HUGE_LEVEL}
    assert set(table["swap_type"][table["state"] == "swap"]) == {areas().index(str(area))} == {1}
    told = decoded(entry, raw)
    assert set(told["state"]) == set(table["state"]) | {"table"}
    assert told["pfn"].isna().all()
    assert told["swap_type"][told["state"] == "swap"].isna().all()
    assert told["swap_offset"][told["state"] != "marker"].isna().all()


def decoded(entry: NDArray[np.uint64], like: Entries) -> pte_frame.PteFrame:
    """Decode entries of which the frames are hidden, at the places of others."""
    bits = like.address_bits._replace(frames_hidden=True)
    made = Entries(entry, like.spans, like.encoding, "stap", address_bits=bits)
    return pte_frame.build(made, kernel.running(bits), pid=0)


def test_nothing_of_a_whole_address_space_is_a_frame() -> None:
    def look() -> tuple[NDArray[np.uint64], NDArray[np.int8], AddressBits]:
        found = walkers.get("stap").walk(own(), 0, hardware.user_limit(), tables=True)
        assert found.frames_hidden
        return found.entry, found.level, AddressBits(found.encryption_mask)

    with forked(member, look) as child:
        child.step()
        entry, level, bits = child.step()
    assert np.array_equal(entry, hidden(entry, level, bits))
    assert len(set(level)) == hardware.levels()
    assert (entry[(level == PTE) & (entry & np.uint64(1) == 1)] & address_mask() == 0).all()


def test_frames_are_not_in_the_shared_memory_for_a_moment(new_map: NewMap) -> None:
    """While one thread walks, another one reads the mapping all the time."""
    entries = 1 << 17  # as many as one call returns: it takes some time slices
    address = new_map(entries * PAGE, READ, advice=NOHUGEPAGE)
    until = time.monotonic() + SECONDS

    def look_while_walking() -> tuple[int, int]:
        read(address, entries * PAGE)  # all of them map the page of zeros
        walker, shown, in_the_midst = walkers.get("stap"), 0, 0
        assert isinstance(walker, StapWalker)
        memory = walker._entries[:entries]
        with ThreadPoolExecutor(1) as pool:
            while not in_the_midst and time.monotonic() < until:
                memory[:] = 0
                walking = pool.submit(walker.walk, own(), address, address + entries * PAGE)
                while not walking.done():
                    found = memory.copy()
                    in_the_midst += bool(found[0] and not found[-1])
                    shown += int((found & address_mask() != 0).sum())
                assert len(walking.result()) == entries
        return shown, in_the_midst

    with forked(member, look_while_walking) as child:
        child.step()
        shown, in_the_midst = child.step()
    assert shown == 0
    assert in_the_midst > 0, "no look came in the midst of a walk"


@pytest.mark.skipif(hardware.machine() == "x86_32", reason="needs nodes, which Debian's 32-bit kernels do not know")
def test_the_old_frame_of_a_page_on_its_way_is_hidden(new_map: NewMap) -> None:
    """Migration entries hold it."""
    pages, stop = 256, threading.Event()
    address = new_map(HUGE, advice=NOHUGEPAGE)

    def make() -> None:
        bind(address, pages * PAGE, 0)
        write(address, pages * PAGE)

    def look() -> list[int]:
        found: set[int] = set()
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            found |= set(seen(own(), address, address + pages * PAGE)[0].tolist())
        return sorted(found)

    def move_to_and_fro(pid: int) -> None:
        node = 1
        while not stop.is_set():
            move(address, pages, node, pid=pid)
            node = 1 - node

    until = time.monotonic() + SECONDS
    with forked(make, member, *[look] * int(2 * SECONDS)) as child, ThreadPoolExecutor(1) as pool:
        child.step()
        child.step()
        moving, states = pool.submit(move_to_and_fro, child.pid), set()
        try:
            while "migration" not in states and time.monotonic() < until:
                entry = np.array(child.step(), np.uint64)
                level = np.full(len(entry), PTE, np.int8)
                assert np.array_equal(entry, hidden(entry, level))
                types, has = kernel.running().swap.types, bits()
                low, width = has.swap_type
                away = [int(one) for one in entry if one and not int(one) & (has.valid | has.kept)]
                states |= {types[one >> low & (1 << width) - 1][0] for one in away}
        finally:
            stop.set()
            moving.result()
    assert states == {"migration"}
