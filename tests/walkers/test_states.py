"""States that were made for real: what was done to a page is what its entry must say."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from conftest import NX, RAW, forked, needs_root, rows, walked
from handmade import (
    ANONYMOUS,
    DONTNEED,
    EXEC,
    GUARD_INSTALL,
    NOHUGEPAGE,
    NONE,
    PAGE,
    PM_FILE,
    PM_GUARD,
    PM_PRESENT,
    PM_SWAP,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    NewMap,
    madvise,
    mprotect,
    pfn,
    read,
    resident,
    words,
    write,
)

from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = needs_root


def entry(address: int, pid: int | None = None) -> Any:
    """Return the one raw entry at an address, decoded."""
    if pid is None:
        return rows(address).iloc[0]
    with AddressSpace(pid) as space:
        return walked(RAW, space, address, address + PAGE).iloc[0]


def test_written_page_is_present_dirty_accessed_writable(new_map: NewMap) -> None:
    address = new_map(4 * PAGE)
    write(address)
    found = entry(address)
    assert found["state"] == "present"
    assert found[["present", "rw", "user", "accessed", "dirty"]].all()
    assert hardware.machine() == "x86_32" or found[NX]
    assert not found[["special", "global"]].any()
    protected = found.get("uffd_wp", default=pd.NA)
    assert hardware.machine() != "x86_64" or not pd.isna(protected)
    assert pd.isna(protected) or not protected  # not every architecture has the bit in every kernel
    cache = "Normal" if hardware.machine() == "arm64" else "WB"
    assert (found["level"], found["size"], found["cache"], found.get("pkey", 0)) == ("pte", PAGE, cache, 0)
    assert found["pfn"] == pfn(address)
    assert resident(address)


def test_untouched_page_is_none(walker: str, new_map: NewMap) -> None:
    address = new_map(4 * PAGE)
    found = rows(address, 4 * PAGE, walker)
    assert list(found["state"].unique()) == ["none"]
    assert found["pfn"].isna().all()
    assert not resident(address)


def test_page_made_read_only_is_not_writable_but_still_dirty(new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    before = pfn(address)
    mprotect(address, PAGE, READ)
    found = entry(address)
    assert (found["present"], found["rw"], found["pfn"]) == (True, False, before)
    assert found["dirty"] or found.get("saved_dirty", default=False)


def test_page_without_access_is_protnone_and_keeps_its_frame(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    before = pfn(address)
    mprotect(address, PAGE, NONE)
    found = rows(address, name=walker).iloc[0]
    assert (found["state"], found["present"], found["pfn"]) == ("protnone", False, before)


def test_fresh_pages_that_were_read_are_one_special_zero_page(new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    assert read(address, 2 * PAGE) == 0
    first, second = entry(address), entry(address + PAGE)
    assert first["special"]
    assert not first["rw"]
    assert first["pfn"] == second["pfn"] == pfn(address) == pfn(address + PAGE)
    write(address + PAGE)
    after = entry(address + PAGE)
    assert (after["special"], after["rw"]) == (False, True)
    assert after["pfn"] == pfn(address + PAGE) != first["pfn"]


@pytest.mark.parametrize("protection", [READ | WRITE, READ | EXEC, READ | WRITE | EXEC])
def test_no_execution_is_the_opposite_of_exec(new_map: NewMap, protection: int) -> None:
    if hardware.encoding() == "x86_32":
        pytest.skip("needs 64-bit entries: those of 32 bits have no such bit")
    address = new_map(PAGE)
    write(address, value=0xC3)  # to an x86, it is "return"
    mprotect(address, PAGE, protection)
    allowed = executes(address) if hardware.encoding() == "x86_pae" else bool(protection & EXEC)
    assert entry(address)[NX] == (not allowed)


def executes(address: int) -> bool:
    """Tell whether the CPU executes what lies at an address.

    With PAE it may execute any page of a user, as seen on 6.1: vm_get_page_prot() keeps the 64 bits of what the entry
    shall be in an unsigned long (arch/x86/mm/pgprot.c), and NX is not among the 32 that remain.
    """
    function = ctypes.CFUNCTYPE(None)(address)
    pid = os.fork()
    if pid == 0:
        function()
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def test_fork_shares_frames_read_only_until_one_writes(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    before = pfn(address)
    with forked(lambda: None, lambda: write(address, value=2)) as child:
        child.step()
        with AddressSpace(child.pid) as space:
            theirs = walked(walker, space, address, address + PAGE).iloc[0]
            ours = rows(address, name=walker).iloc[0]
            assert ours["pfn"] == theirs["pfn"] == before == pfn(address, child.pid)
            if walker == RAW:
                assert (ours["rw"], theirs["rw"]) == (False, False)
            child.step()
            theirs = walked(walker, space, address, address + PAGE).iloc[0]
        ours = rows(address, name=walker).iloc[0]
        assert ours["pfn"] == before
        assert theirs["pfn"] == pfn(address, child.pid) != before
        if walker == RAW:
            assert (ours["rw"], theirs["rw"]) == (False, True)
    assert read(address) == 1


def test_dropped_page_is_none(walker: str, new_map: NewMap) -> None:
    address = new_map(2 * PAGE, advice=NOHUGEPAGE)
    write(address, 2 * PAGE)
    madvise(address, PAGE, DONTNEED)
    assert list(rows(address, 2 * PAGE, walker)["state"]) == ["none", "present"]
    assert not words(address)[0] & (PM_PRESENT | PM_SWAP)


def test_guard_page_is_a_marker(walker: str, new_map: NewMap) -> None:
    address = new_map(PAGE)
    try:
        madvise(address, PAGE, GUARD_INSTALL)
    except OSError:
        pytest.skip("needs a kernel with MADV_GUARD_INSTALL (6.13)")
    found = rows(address, name=walker).iloc[0]
    assert (found["state"], found["kind"]) == ("marker", "guard")
    assert words(address)[0] & PM_GUARD


def test_two_maps_of_one_file_show_one_frame(walker: str, new_map: NewMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * PAGE)
    with (tmp_path / "file").open("r+b") as file:
        shared = new_map(PAGE, READ | WRITE, SHARED, file.fileno())
        private = new_map(PAGE, READ | WRITE, PRIVATE, file.fileno())
    assert read(shared) == read(private) == ord("x")
    first, second = (rows(at, name=walker).iloc[0] for at in (shared, private))
    assert first["pfn"] == second["pfn"] == pfn(shared)
    assert words(shared)[0] & PM_FILE
    if walker == "pagemap":
        assert first["file"]
        assert second["file"]
    write(private)
    assert rows(private, name=walker).iloc[0]["pfn"] == pfn(private) != pfn(shared)


@pytest.mark.parametrize("kind", ["anonymous", "memfd"])
def test_shared_memory_stays_one_frame_after_fork_and_write(walker: str, new_map: NewMap, kind: str) -> None:
    if kind == "memfd":
        fd = os.memfd_create("test")
        os.ftruncate(fd, PAGE)
        address = new_map(PAGE, READ | WRITE, SHARED, fd)
        os.close(fd)
    else:
        address = new_map(PAGE, flags=SHARED | ANONYMOUS)
    write(address)
    before = pfn(address)
    with forked(lambda: write(address, value=7)) as child:
        child.step()
        with AddressSpace(child.pid) as space:
            found = walked(walker, space, address, address + PAGE).iloc[0]
    assert found["pfn"] == before == rows(address, name=walker).iloc[0]["pfn"]
    assert read(address) == 7
