"""Whose the page frames are: against what made them so, and against /proc/meminfo."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from accounting import meminfo, turnover
from conftest import NOBODY, forked, needs_root, python
from handmade import (
    ANONYMOUS,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PM_PFN,
    READ,
    SHARED,
    WRITE,
    NewMap,
    read,
    words,
    write,
)
from shells import Shell
from waiting import wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.api.machine.owners import Owners, owners
from pte_magic.errors import TargetError
from pte_magic.views.page_map.physical_map import PhysicalMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGES = 64


def of(found: Owners, pfn: NDArray[np.uint64]) -> set[str]:
    return {found.names[code] for code in found.codes[pfn].tolist()}


def frames_of(address: int, pages: int, pid: int | str = "self") -> NDArray[np.uint64]:
    found: NDArray[np.uint64] = words(address, pages * PAGE, pid) & np.uint64(PM_PFN)
    assert found.all()
    return found


def buddies() -> int:
    """Return the bytes in the lists of the page allocator; MemFree counts pages that it was not given yet, too."""
    orders = (line.split()[4:] for line in Path("/proc/buddyinfo").read_text(encoding="ascii").splitlines())
    return sum(int(count) * PAGE << order for counts in orders for order, count in enumerate(counts))


def cached(file: Path) -> NDArray[np.uint64]:
    """Return the frames of a file's pages, which nobody maps any more."""
    file.write_bytes(bytes(PAGES * PAGE))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as memory:
        looked_at = np.frombuffer(memory, np.uint8)
        assert not looked_at[::PAGE].any()  # mapped by reading
        pfn = frames_of(looked_at.ctypes.data, PAGES)
        del looked_at
    return pfn


@needs_root
def test_frames_are_whose_they_were_made(new_map: NewMap, walker: str, tmp_path: Path) -> None:
    mine, unlooked = (new_map(PAGES * PAGE, advice=NOHUGEPAGE) for _ in range(2))
    huge = new_map(HUGE, advice=HUGEPAGE)
    both = new_map(PAGES * PAGE, READ | WRITE, SHARED | ANONYMOUS)

    def use() -> None:
        write(mine, PAGES * PAGE)
        write(huge, HUGE)
        write(both, PAGES * PAGE)

    with forked(use) as child, forked(lambda: read(both, PAGES * PAGE)) as other:
        child.step()
        other.step()
        write(unlooked, PAGES * PAGE)  # not before: the children would have it, too
        kept = cached(tmp_path / "file")
        table = frames_of(both, PAGES, other.pid)
        found = owners([child.pid, other.pid], ["child"], walkers.get(walker))
        assert of(found, frames_of(mine, PAGES, child.pid)) == {"child"}
        assert of(found, frames_of(huge, HUGE // PAGE, child.pid)) == {"child"}
        assert of(found, table) == {"several processes"}
        assert of(found, kept) == {"page cache"}
        assert of(found, frames_of(unlooked, PAGES)) == {"other processes"}
        assert of(owners([], [], walkers.get(walker)), table) == {"other processes"}


@needs_root
def test_what_is_free_and_what_holds_page_tables_is_as_much_as_the_kernel_says() -> None:
    """The kernel is asked before and after; in between, no more can change than was allocated, freed and mapped."""
    seen: list[Any] = []

    def look() -> bool:
        turned, before, free = turnover(), meminfo(), buddies()
        found = owners([], [], walkers.get())
        after, free_after, churn = meminfo(), buddies(), turnover() - turned
        frames = np.bincount(found.codes, minlength=7).tolist()
        bytes_of = {name: PAGE * count for name, count in zip(found.names, frames, strict=True)}
        seen[:] = [bytes_of, before, churn]
        kernels = {
            "free": [free, free_after],
            "other processes": [told["AnonPages"] + told["Mapped"] for told in (before, after)],
            "kernel": [told["Slab"] + told["PageTables"] for told in (before, after)],
        }
        assert min(kernels["free"]) - churn <= bytes_of["free"] <= max(kernels["free"]) + churn
        low, high = sorted(kernels["other processes"])
        assert low - churn <= bytes_of["other processes"] <= high + churn
        assert bytes_of["kernel"] >= min(kernels["kernel"]) - churn
        assert sum(bytes_of.values()) - bytes_of["no memory"] >= before["MemTotal"]
        return churn * 2 < min(free, free_after)  # so that neither nothing nor twice as much would have passed

    wait_until(look, instead=lambda: f"the machine is too busy: {seen}")


@needs_root
def test_who_is_told_no_frames_gets_no_picture() -> None:
    code = """
try:
    pte_magic.machine(walker="pagemap").map()
except pte_magic.PteMagicError as error:
    print(error)
"""
    assert python(code, user=NOBODY).startswith("a picture of physical memory needs page frames and /proc/kpageflags")


def test_a_table_of_another_machine_has_no_picture_here() -> None:
    table = pte_magic.machine(walker="pagemap")
    for other in (table.assign(host="elsewhere"), table.iloc[:0]):
        with pytest.raises(TargetError, match=r"these are not the processes of this host; type pte_magic\.machine"):
            other.map()
    with pytest.raises(
        TargetError, match=r"map\(\) needs the columns .* call it on what pte_magic\.machine\(\) returned"
    ):
        table[["pid", "pss"]].map()
    assert table[["pid"]].map(str)["pid"].tolist() == table["pid"].astype(str).tolist()


@needs_root
def test_the_magic_shows_the_machine_as_a_picture(tmp_path_factory: pytest.TempPathFactory) -> None:
    shell = Shell(tmp_path_factory.mktemp("ipython"))
    view = shell.run("%pte --machine --map").result
    assert isinstance(view, PhysicalMap)
    assert f"(pid {os.getpid()})" in view.text() or "other processes" in view.text()
