"""What dump_pte.stp says of entries that map no page, or a large one; and as a person types it."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import forked
from handmade import (
    ANONYMOUS,
    FIXED,
    GIB,
    HUGE,
    HUGE_LEVEL,
    HUGETLB,
    PAGE,
    PAGE_WORDS,
    READ,
    SHARED,
    WRITE,
    libc,
    madvise,
    munmap,
    pfn,
    words,
    write,
)
from poison import HWPOISON, mended
from shell_scripts import ADDRESS, SHELL, environment
from swapping import file_system, make_file, page_out, swap_off, swap_on
from test_shell import dumped, small
from test_userfaultfd import WP_SHARED, Uffd
from waiting import SECONDS

from pte_magic.formats import kernel
from pte_magic.systemtap import toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _unmapped() -> Iterator[None]:
    yield
    munmap(ADDRESS, GIB)


def types(state: str) -> set[str]:
    """The types of special entries of a kind."""
    return {str(number) for number, (has, _) in enumerate(kernel.running().swap.types) if has == state}


def hugetlb(size: int) -> None:
    flags = SHARED | ANONYMOUS | HUGETLB | FIXED | size.bit_length() - 1 << 26
    assert libc.mmap(ADDRESS, size, READ | WRITE, flags, -1, 0) == ADDRESS


def test_swapped_out(tmp_path: Path) -> None:
    with file_system(tmp_path) as place:
        area = make_file(place / "swap", 1024)
        swap_on(area)
        small()
        page_out(ADDRESS)
        entries, last = dumped(os.getpid())
        word = int(words(ADDRESS)[0])
        munmap(ADDRESS, PAGE)
        swap_off(area)
    assert entries[-1][0] == "pte"
    assert last == f"swapped out: area {word & 31}, page {word >> 5 & (1 << 50) - 1} of it"


def test_special_entry_of_a_page() -> None:
    def break_it() -> None:
        faulthandler.disable()  # it would tell of the signal
        signal.signal(signal.SIGBUS, lambda *_: None)
        madvise(ADDRESS, PAGE, HWPOISON)

    with mended() as broken, forked(small, break_it) as child:
        child.step()
        broken.append(pfn(ADDRESS, child.pid))
        child.step()
        entries, last = dumped(child.pid)
    assert entries[-1][0] == "pte"
    (number,) = types("hwpoison")
    assert last == f"not present at pte: special entry of type {number}"


def test_special_entry_of_a_huge_page() -> None:
    hugetlb(HUGE)
    one = Uffd(WP_SHARED)
    try:
        one.protect(ADDRESS, HUGE)
        entries, last = dumped(os.getpid())
    finally:
        os.close(one.fd)
    assert entries[-1][0] == HUGE_LEVEL
    head, number = last.rsplit(" ", 1)
    assert head == f"not present at {HUGE_LEVEL}: special entry of type"
    assert number in types("marker")


def test_page_of_1_gib() -> None:
    hugetlb(GIB)
    write(ADDRESS)
    entries, last = dumped(os.getpid())
    assert entries[-1][0] == "pud"
    assert last == f"1 GiB leaf at pud: physical address {pfn(ADDRESS) * PAGE:#x}"


@pytest.mark.skipif(shutil.which("stap") is None, reason="stap is not installed")
@pytest.mark.parametrize("words", [SHELL, ("./dump_pte.stp",)], ids=["stap", "#!"])
def test_as_a_person_types_it(words: tuple[str, ...]) -> None:
    """It was compiled outside by the same words (shell_scripts.py), so that stap finds the module in its cache."""
    small()
    done = subprocess.run(
        [*words, "-x", str(os.getpid()), hex(ADDRESS)],
        cwd=toolchain.SCRIPTS, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"pid {os.getpid()}, address {ADDRESS:#x}"
    assert done.stdout.splitlines()[-1] == f"{PAGE_WORDS} leaf at pte: physical address {pfn(ADDRESS) * PAGE:#x}"
