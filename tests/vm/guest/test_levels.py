"""Five levels of page tables, and four (boot with ``no5lvl``): the chain to a page, and how far addresses reach."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from agreement import agree, kpageflags
from conftest import ANONYMOUS, FIXED, NORESERVE, PAGE, PRIVATE, READ, WRITE, libc, munmap, pfn, walked, write

from pte_magic import hardware
from pte_magic.space import own

KPF_PGTABLE = 1 << 26
CHAINS = {4: ["pgd", "pud", "pmd", "pte"], 5: ["pgd", "p4d", "pud", "pmd", "pte"]}
SIZES = {"pte": 12, "pmd": 21, "pud": 30, "p4d": 39}


def levels() -> int:
    """Ask the CPU and the kernel's command line."""
    cpu = re.search(r"^flags\s*:.* la57\b", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    assert bool(cpu) == ("no5lvl" not in Path("/proc/cmdline").read_text(encoding="utf-8").split())
    return 5 if cpu else 4


def map_at(address: int, flags: int = 0) -> int:
    got: int = libc.mmap(address, 2 * PAGE, READ | WRITE, PRIVATE | ANONYMOUS | NORESERVE | flags, -1, 0)
    return got


@pytest.mark.parametrize("hint", [1 << 40, 1 << 46, 1 << 55, (1 << 56) - (1 << 30)], ids=hex)  # the heap is below
def test_chain_has_an_entry_of_every_level(hint: int) -> None:
    address = map_at(hint)
    try:
        assert (address == hint) == (hint < 1 << (56 if levels() == 5 else 47))
        write(address)
        agree(address, 2 * PAGE)
        found = walked("stap", own(), address, address + PAGE, tables=True)
        assert list(found["level"]) == CHAINS[levels()]
        assert list(found["state"]) == ["table"] * (levels() - 1) + ["present"]
        assert found["pfn"].iloc[-1] == pfn(address)
        for level, vaddr, size in zip(found["level"], found["vaddr"], found["size"], strict=True):
            assert size == 1 << (SIZES[level] if level != "pgd" else 12 + 9 * (levels() - 1))
            assert vaddr == address & -int(size)
        for table in found["pfn"][
            found["level"].isin(["pud", "pmd"])
        ]:  # those of higher levels have the flag since 6.14
            assert kpageflags(int(table)) & KPF_PGTABLE
    finally:
        munmap(address, 2 * PAGE)


def test_the_last_page_of_all_is_found() -> None:
    last = hardware.user_limit() - 2 * PAGE  # the kernel keeps the one after it empty
    assert hardware.user_limit() == 1 << (56 if levels() == 5 else 47)
    assert map_at(last, FIXED) != last
    address = libc.mmap(last, PAGE, READ | WRITE, PRIVATE | ANONYMOUS | FIXED, -1, 0)
    assert address == last
    try:
        write(last)
        assert agree(last - PAGE, 2 * PAGE)["pfn"].iloc[-1] == pfn(last)
    finally:
        munmap(last, PAGE)
