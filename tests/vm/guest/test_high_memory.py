"""32-bit x86: page tables in high memory, which the kernel maps nowhere by itself, and page frames above 4 GiB.

With CONFIG_HIGHPTE, as Debian's kernels have it, the lowest tables of a process come from high memory as long as there
is some (PGALLOC_USER_GFP, arch/x86/mm/pgtable.c). Who looks for them in the direct map reads something else there.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from agreement import kpageflags
from conftest import by_page, walked
from handmade import ANONYMOUS, HUGE, NOHUGEPAGE, NORESERVE, PAGE, PM_PFN, PRIVATE, NewMap, words, write

from pte_magic.linux import hardware
from pte_magic.linux.address_space import own

KPF_PGTABLE = 1 << 26
TABLES = 64
GIB4 = (4 << 30) // PAGE


def first_high() -> int | None:
    """Return the first page frame of high memory; None if there is none."""
    zones = re.split(r"\nNode \d+, zone\s+", "\n" + Path("/proc/zoneinfo").read_text(encoding="ascii"))
    for zone in zones:
        if zone.startswith("HighMem") and not re.search(r"\n\s+managed\s+0\n", zone):
            return int(re.findall(r"start_pfn:\s+(\d+)", zone)[0])
    return None


@pytest.fixture
def high() -> int:
    found = first_high()
    if found is None:
        pytest.skip("needs a 32-bit kernel with high memory")
    return found


def sparse(new_map: NewMap) -> int:
    """Map what takes a table for each page that is written."""
    address = new_map(TABLES * HUGE, flags=PRIVATE | ANONYMOUS | NORESERVE, advice=NOHUGEPAGE)
    for table in range(TABLES):
        write(address + table * HUGE + table * PAGE)
    return address


def test_tables_in_high_memory_are_read_where_they_are(raw_walker: str, new_map: NewMap, high: int) -> None:
    address = sparse(new_map)
    end = address + TABLES * HUGE
    found = walked(raw_walker, own(), address, end, tables=True)
    tables = found[(found["state"] == "table") & (found["level"] == list(hardware.shifts())[-2])]
    assert len(tables) == TABLES
    assert (tables["pfn"] >= high).any(), "no table lies in high memory"
    for table in tables["pfn"]:
        assert kpageflags(int(table)) & KPF_PGTABLE
    told = words(address, TABLES * HUGE)
    pages = by_page(walked(raw_walker, own(), address, end), address, end)
    there = np.flatnonzero(pages["state"] == "present")
    assert there.tolist() == np.flatnonzero(told).tolist()
    assert there.tolist() == [table * (HUGE // PAGE) + table for table in range(TABLES)]
    assert pages["pfn"][there].tolist() == (told[there] & np.uint64(PM_PFN)).tolist()


def test_frames_above_4_gib(walker: str, new_map: NewMap) -> None:
    if hardware.machine() != "x86_32":
        pytest.skip("needs a 32-bit kernel with PAE: others have no limit there")
    ram = re.findall(r"-([0-9a-f]+) : System RAM", Path("/proc/iomem").read_text(encoding="ascii"))
    if max(int(end, 16) for end in ram) // PAGE < GIB4:
        pytest.skip("needs memory above 4 GiB, and PAE")
    size = 256 << 20
    address = new_map(size, advice=NOHUGEPAGE)
    for done in range(0, size, HUGE):  # the kernel gives out its highest memory first, but for what was freed
        write(address + done, HUGE)
        told = words(address + done, HUGE)
        if (told & np.uint64(PM_PFN) >= GIB4).any():
            break
    else:
        pytest.fail("no page lies above 4 GiB")
    start = address + done
    pages = by_page(walked(walker, own(), start, start + HUGE), start, start + HUGE)
    assert pages["pfn"].tolist() == (told & np.uint64(PM_PFN)).tolist()
    assert max(pages["pfn"]) >= GIB4
