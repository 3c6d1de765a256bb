"""Levels of page tables, as many as the kernel uses: the chain to a page, and how far addresses reach.

On x86-64 there are five, or four with ``no5lvl``; on arm64 it depends on the processor, too.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from agreement import agree, kpageflags, raw_walkers
from conftest import walked
from handmade import ANONYMOUS, FIXED, NORESERVE, PAGE, PRIVATE, READ, WRITE, libc, munmap, pfn, write

from pte_magic.linux import hardware
from pte_magic.linux.address_space import own

KPF_PGTABLE = 1 << 26
CHAIN = ["pgd", "p4d", "pud", "pmd", "pte"]
# VA_BITS_MIN of arch/arm64/include/asm/memory.h is 47 with pages of 16 KiB: above, nothing is mapped without a hint.
FEW_BITS, MANY_BITS = {"x86_64": (47, 56), "arm64": (47 if PAGE == 16 << 10 else 48, 52)}[
    hardware.machine()
]  # of users' addresses
PAGE_BITS = PAGE.bit_length() - 1
INDEX_BITS = PAGE_BITS - 3  # of a table that fills a page with entries of 8 bytes


def address_bits() -> int:
    """Return how wide users' addresses are.

    Of x86-64 the CPU and the kernel's command line tell. arm64 maps where it is asked to if there is such an address.
    """
    if hardware.machine() == "arm64":
        return MANY_BITS if _maps_above_few_bits() else FEW_BITS
    cpu = re.search(r"^flags\s*:.* la57\b", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    assert bool(cpu) == ("no5lvl" not in Path("/proc/cmdline").read_text(encoding="utf-8").split())
    return MANY_BITS if cpu else FEW_BITS


def _maps_above_few_bits() -> bool:
    address = map_at(1 << (MANY_BITS - 1))
    munmap(address, 2 * PAGE)
    return address >> FEW_BITS > 0


def chain() -> list[str]:
    """Return the levels that an address has indices of; x86-64's sign bit is one of them."""
    bits = address_bits() + (hardware.machine() == "x86_64")
    levels = -(-(bits - PAGE_BITS) // INDEX_BITS)
    return CHAIN[:1] + CHAIN[len(CHAIN) - levels + 1 :]


def map_at(address: int, flags: int = 0) -> int:
    got: int = libc.mmap(address, 2 * PAGE, READ | WRITE, PRIVATE | ANONYMOUS | NORESERVE | flags, -1, 0)
    return got


HINTS = [1 << 40, 1 << (FEW_BITS - 1), 1 << (MANY_BITS - 1), (1 << MANY_BITS) - (1 << 30)]


@pytest.mark.parametrize("hint", HINTS, ids=hex)  # the heap is below
def test_chain_has_an_entry_of_every_level(hint: int) -> None:
    address = map_at(hint)
    try:
        assert (address == hint) == (hint < 1 << address_bits())
        write(address)
        agree(address, 2 * PAGE)
        found = walked(raw_walkers()[-1], own(), address, address + PAGE, tables=True)
        assert list(found["level"]) == chain()
        assert list(found["state"]) == ["table"] * (len(chain()) - 1) + ["present"]
        assert found["pfn"].iloc[-1] == pfn(address)
        for below, (vaddr, size) in enumerate(zip(found["vaddr"][::-1], found["size"][::-1], strict=True)):
            assert size == 1 << (PAGE_BITS + below * INDEX_BITS)
            assert vaddr == address & -int(size)
        for table in found["pfn"][
            found["level"].isin(["pud", "pmd"])
        ]:  # those of higher levels have the flag since 6.14
            assert kpageflags(int(table)) & KPF_PGTABLE
    finally:
        munmap(address, 2 * PAGE)


def test_the_last_page_of_all_is_found() -> None:
    kept = PAGE if hardware.machine() == "x86_64" else 0  # the kernel keeps that one empty: TASK_SIZE_MAX
    last = hardware.user_limit() - PAGE - kept
    assert hardware.user_limit() == 1 << address_bits()
    assert map_at(last, FIXED) != last
    address = libc.mmap(last, PAGE, READ | WRITE, PRIVATE | ANONYMOUS | FIXED, -1, 0)
    assert address == last
    try:
        write(last)
        assert agree(last - PAGE, 2 * PAGE)["pfn"].iloc[-1] == pfn(last)
    finally:
        munmap(last, PAGE)
