"""dump_pte.stp from the shell, and the tapset's reading of entries against Python's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import pytest
from conftest import forked, walked
from handmade import (
    ANONYMOUS,
    FIXED,
    HUGE,
    HUGE_LEVEL,
    HUGE_WORDS,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    PAGE,
    PAGE_WORDS,
    PRIVATE,
    READ,
    WRITE,
    libc,
    madvise,
    mprotect,
    munmap,
    pfn,
    read,
    write,
)
from shell_scripts import ADDRESS, DUMP_PTE, ENTRIES, FLAGS, VALUES
from waiting import SECONDS

import pte_magic
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace
from pte_magic.systemtap import module_cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.systemtap.script import Script


T = TypeVar("T")
ATTEMPTS = 5
OTHER = "bpf" if sys.maxsize >> 32 else "stap"
"""What walks the same tables with other code; a 32-bit kernel has no eBPF walker."""


def run(script: Script, *options: str) -> list[str]:
    module = module_cache.kept(script)
    assert module, f"{script.name} was not compiled for this kernel"
    done = subprocess.run(
        ["staprun", "-R", *options, str(module)], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def both(look: Callable[[], T], walk: Callable[[], pd.DataFrame]) -> tuple[T, pd.DataFrame]:
    """Return what a script sees, and the entries before and after it, which are the same.

    Reclaim may clear the mark of an access between two looks, but not each time.
    """
    for _ in range(ATTEMPTS):
        before, found, after = walk(), look(), walk()
        if before["entry"].equals(after["entry"]):
            return found, after
    pytest.fail(f"these pages are not at rest at {ATTEMPTS} attempts")


def dumped(pid: int) -> tuple[list[tuple[str, int]], str]:
    """Return the entries by level, and the last line, of what dump_pte.stp prints."""
    first, *lines, last = run(DUMP_PTE, "-x", str(pid))
    assert first == f"pid {pid}, address {ADDRESS:#x}"
    found = [re.fullmatch(r"(p..)\[ *(\d+)\]  0x([0-9a-f]{16})", line) for line in lines]
    return [(entry[1], int(entry[3], 16)) for entry in found if entry], last


def mapped(protection: int = READ | WRITE) -> None:
    got = libc.mmap(ADDRESS, 2 * HUGE, protection, PRIVATE | ANONYMOUS | FIXED, -1, 0)
    assert got == ADDRESS


def small() -> None:
    mapped()
    madvise(ADDRESS, HUGE, NOHUGEPAGE)
    write(ADDRESS, PAGE)


def large() -> None:
    mapped()
    madvise(ADDRESS, HUGE, HUGEPAGE)
    write(ADDRESS, PAGE)


def no_access() -> None:
    small()
    mprotect(ADDRESS, PAGE, NONE)


def beside() -> None:
    """Memory in the same table, but none at the address."""
    mapped()
    madvise(ADDRESS, HUGE, NOHUGEPAGE)
    write(ADDRESS + PAGE, PAGE)


@pytest.mark.parametrize(
    ("make", "ending"),
    [
        (small, rf"{PAGE_WORDS} leaf at pte: physical address 0x{{physical:x}}"),
        (large, rf"{HUGE_WORDS} leaf at {HUGE_LEVEL}: physical address 0x{{physical:x}}"),
        (no_access, rf"{PAGE_WORDS} leaf at pte: physical address 0x{{physical:x}}"),
        (beside, rf"no pte: nothing is mapped in these {PAGE_WORDS}"),
        (mapped, r"no (pgd|p4d|pud|pmd): nothing is mapped in these \d+ [KMGT]iB"),
        (lambda: None, r"no region: the process has mapped nothing there"),
    ],
    ids=["small", "large", "no_access", "beside", "mapped", "nothing"],
)
def test_dump_pte_prints_the_chain_of_another_process(make: Callable[[], Any], ending: str) -> None:
    with forked(make) as child, AddressSpace(child.pid) as space:
        child.step()
        (entries, last), chain = both(
            lambda: dumped(child.pid), lambda: walked(OTHER, space, ADDRESS, ADDRESS + PAGE, tables=True)
        )
        seen = [(level, entry) for level, entry in zip(chain["level"], chain["entry"], strict=True) if entry]
        assert entries == (seen if make in (small, large, no_access, beside, mapped) else [])
        leaf = chain.iloc[-1]
        physical = 0 if pd.isna(leaf["pfn"]) else int(leaf["pfn"]) * PAGE
        assert re.fullmatch(ending.format(physical=physical), last)


def test_dump_pte_of_its_own_caller() -> None:
    """As `stap -g dump_pte.stp -x $$ ADDRESS` in a shell."""
    small()
    try:
        entries, last = dumped(os.getpid())
        frame = int(walked("pagemap", AddressSpace(), ADDRESS, ADDRESS + PAGE)["pfn"].iloc[0])
        assert entries[-1][0] == "pte"
        assert last == f"{PAGE_WORDS} leaf at pte: physical address {frame * PAGE:#x}"
    finally:
        munmap(ADDRESS, 2 * HUGE)


@pytest.mark.parametrize(("pid", "says"), [(2, "no address space: a kernel thread, or a process that has exited")])
def test_dump_pte_says_why_there_is_nothing(pid: int, says: str) -> None:
    assert dumped(pid) == ([], says)


def test_dump_pte_of_no_process() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    done = subprocess.run(
        ["staprun", "-R", "-x", str(pid), str(module_cache.kept(DUMP_PTE))], capture_output=True, text=True, check=False
    )
    assert f"no process {pid}" in done.stdout + done.stderr or "Invalid target process ID" in done.stderr


def four_pages() -> None:
    """A page that was written, one that was only read, one that was not touched, and a huge one."""
    small()
    read(ADDRESS + PAGE)
    madvise(ADDRESS + HUGE, HUGE, HUGEPAGE)
    write(ADDRESS + HUGE, PAGE)


def test_the_tapset_finds_entries_of_another_process() -> None:
    with forked(four_pages) as child, AddressSpace(child.pid) as space:
        child.step()
        pages = [ADDRESS + at for at in (0, PAGE, 2 * PAGE, HUGE)]
        lines, found = both(
            lambda: run(ENTRIES, "-x", str(child.pid)),
            lambda: pd.concat([walked(OTHER, space, page, page + PAGE) for page in pages]),
        )
        told = [line.split("|") for line in lines]
        for (entry, level, *numbers), (_, seen), page in zip(told, found.iterrows(), pages, strict=True):
            assert int(entry) % (1 << 64) == seen["entry"]
            assert level == seen["level"]
            is_there = page != pages[2]
            frame = pfn(page, child.pid) if is_there else -1
            assert [int(number) for number in numbers] == [seen["size"], is_there, frame]
        assert [level for _, level, *_ in told] == ["pte", "pte", "pte", HUGE_LEVEL]


WORDS = (
    *("present", "rw", "user", "accessed", "dirty", "global", "special", "uffd_wp", "soft_dirty", "saved_dirty", "nx"),
    *("uxn", "pxn", "cont", "dbm", "gp"),
)


def test_kernel_and_python_read_the_same_in_raw_entries() -> None:
    """The tapset asks the kernel's own macros, Python its table of fields."""
    table = pte_magic.decode(list(VALUES))
    for line, (_, row) in zip(run(FLAGS), table.iterrows(), strict=True):
        present, frame, words = line.split("|")
        assert bool(int(present)) == (row["state"] in ("present", "protnone")), (line, row)
        if row["state"] in ("present", "protnone"):
            assert int(frame, 16) == row["pfn"], (line, row)
            told = set(words.split())
            for word in WORDS:
                if word in row.index and word != "present" and not pd.isna(row[word]):
                    assert (word in told) == bool(row[word]), (line, word)
            assert ("protnone" in told) == (row["state"] == "protnone")
        elif (
            row["kind"] == "not_present"
        ):  # in no layout that the kernel makes: its macros do not ask, and find some kind
            assert words not in {"", "none"}, (line, row)
            if hardware.machine() == "x86_64":  # arch/x86/include/asm/pgtable_64.h: type in 59-63, the offset inverted
                entry = int(row["entry"])
                assert words == f"swap type {entry >> 59} offset {((~entry << 5) & ((1 << 64) - 1)) >> 14}", (line, row)
        elif row["state"] == "swap":
            assert words == f"swap type {row['swap_type']} offset {row['swap_offset']}"
        else:
            assert words == row["state"], (line, row)
