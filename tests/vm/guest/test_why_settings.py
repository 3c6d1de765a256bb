"""`pte_magic.why` where a setting of the machine keeps memory from huge pages, and khugepaged makes them after it."""

from __future__ import annotations

import functools
import re
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from causes import AS_ROOT, asked, done, forbidden, huge, refused, row, typed
from conftest import forked
from groups import memory_group
from handmade import (
    ANONYMOUS,
    DONTNEED,
    HUGE,
    HUGE_WORDS,
    HUGEPAGE,
    NOHUGEPAGE,
    NORESERVE,
    PAGE,
    PRIVATE,
    PTES,
    READ,
    SHARED,
    WRITE,
    NewMap,
    hugetlb,
    madvise,
    smaps,
    write,
)
from numa import bind, nodes
from swapping import fill, page_out, swap_off, swap_on, zram
from waiting import wait_until

from pte_magic.linux import free_memory
from pte_magic.systemtap import toolchain
from pte_magic.text.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic import Why

# They change settings of the whole machine, and fill its memory: what is killed meanwhile would leave that behind.
if toolchain.cannot_load():
    pytest.skip(f"needs a guest of the lab: {toolchain.cannot_load()}", allow_module_level=True)

THP = Path("/sys/kernel/mm/transparent_hugepage")
KHUGEPAGED = THP / "khugepaged"
OF_HUGE = THP / f"hugepages-{HUGE >> 10}kB"
POOL = Path(f"/sys/kernel/mm/hugepages/hugepages-{HUGE >> 10}kB/nr_hugepages")
MOST = f"of {PTES} pages are"


@contextmanager
def setting(path: Path, value: object) -> Iterator[None]:
    """Give a setting another value for a while."""
    text = path.read_text(encoding="ascii")
    chosen = re.search(r"\[(\S+)\]", text)
    before = chosen[1] if chosen else text.strip()
    path.write_text(str(value), encoding="ascii")
    try:
        yield
    finally:
        path.write_text(before, encoding="ascii")


@pytest.fixture(autouse=True)
def _as_usual() -> Iterator[None]:
    """Have the settings of most distributions, and a khugepaged that is here at once."""
    with ExitStack() as stack:
        for path, value in {
            THP / "enabled": "madvise",
            THP / "defrag": "madvise",
            THP / "shmem_enabled": "never",
            KHUGEPAGED / "scan_sleep_millisecs": 10,
            KHUGEPAGED / "alloc_sleep_millisecs": 10,
            KHUGEPAGED / "pages_to_scan": 64 * PTES,
        }.items():
            stack.enter_context(setting(path, value))
        yield


def comes(address: int, bytes_: int = HUGE) -> None:
    """Wait until khugepaged has made huge pages."""
    wait_until(lambda: huge(address) == bytes_, instead=lambda: str(asked(address, bytes_)))
    assert str(asked(address, bytes_)).startswith("on huge pages")


def test_memory_that_does_not_ask(new_map: NewMap) -> None:
    address = new_map(HUGE)
    write(address, HUGE)
    found = asked(address)
    refused(found, "enabled", "only memory that asks for huge pages gets them (enabled: madvise)")
    assert huge(address) == 0
    typed(found)
    comes(address)


of_each_size = pytest.mark.skipif(not OF_HUGE.exists(), reason="needs settings for each size (6.8)")


@pytest.mark.parametrize(
    "where",
    [
        THP,
        pytest.param(
            OF_HUGE, marks=pytest.mark.skipif(not OF_HUGE.exists(), reason="needs settings for each size (6.8)")
        ),
    ],
    ids=["all", "this size"],
)
def test_an_administrator_who_gives_none(where: Path, new_map: NewMap) -> None:
    with setting(where / "enabled", "never"):
        address = new_map(HUGE, advice=HUGEPAGE)
        write(address, HUGE)
        found = asked(address)
        refused(found, "enabled", f"(enabled: never) in {where}/enabled")
        assert huge(address) == 0
        typed(found)
        comes(address)


def test_more_holes_than_khugepaged_fills(new_map: NewMap) -> None:
    with setting(KHUGEPAGED / "max_ptes_none", 3):
        address = new_map(HUGE)
        write(address, HUGE)
        madvise(address + PAGE, 4 * PAGE, DONTNEED)
        madvise(address, HUGE, HUGEPAGE)
        found = asked(address)
        refused(found, "holes", f"up to 4 {MOST} empty, and khugepaged takes 3 (max_ptes_none)")
        write(address + PAGE)  # another hole less
        comes(address)


def test_holes_are_filled_at_once_if_that_is_typed(new_map: NewMap) -> None:
    with setting(KHUGEPAGED / "max_ptes_none", 0):
        address = new_map(HUGE)
        write(address, HUGE - PAGE)
        madvise(address, HUGE, HUGEPAGE)
        found = asked(address)
        refused(found, "holes", f"up to 1 {MOST} empty")
        typed(found)
        assert huge(address) == HUGE


@contextmanager
def second_version() -> Iterator[None]:
    """Have cgroups of the second version, with memory; in a guest nothing is mounted there."""
    place = Path("/sys/fs/cgroup")
    if any(place.iterdir()):
        yield
        return
    subprocess.run(["mount", "-t", "cgroup2", "none", place], check=True)
    try:
        (place / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
        yield
        (place / "cgroup.subtree_control").write_text("-memory", encoding="ascii")
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def _swap() -> Iterator[None]:
    with zram("64M") as device:
        swap_on(device)
        yield
        swap_off(device)


@pytest.mark.usefixtures("_swap")
def test_more_swapped_pages_than_khugepaged_brings_back(new_map: NewMap) -> None:
    most, count = PTES // 8, PTES // 8 + 6
    address = new_map(HUGE)
    fill(address, PTES)
    page_out(address, count * PAGE)
    madvise(address, HUGE, HUGEPAGE)
    found = asked(address)
    refused(found, "swapped pages", f"up to {count} {MOST} swapped out, and khugepaged takes {most} (max_ptes_swap)")
    swapped = next(line for line in found.attrs["also"] if line.startswith("swapped out: "))
    assert f"{size(count * PAGE)} of {HUGE_WORDS}" in swapped
    assert smaps(address, "Swap") == count * PAGE
    assert f"of {size(64 << 20)} used" in row(found, "swap space")["found"]
    typed(found)
    assert huge(address) == HUGE
    after = asked(address)
    assert after.attrs["also"] == []
    assert set(after["about"]) == {"huge pages"}


@pytest.mark.usefixtures("_swap")
@pytest.mark.parametrize("name", ["max", "high"])
def test_a_memory_cgroup_that_is_full_swaps_out(name: str, new_map: NewMap) -> None:
    size_ = 2 * HUGE
    address = new_map(size_, advice=NOHUGEPAGE)
    with second_version(), memory_group() as group:

        def value(of: str) -> int:
            return int((group.directory / f"memory.{of}").read_text(encoding="ascii"))

        def enter_and_write() -> None:
            group.enter()
            fill(address, size_ // PAGE)

        with forked(enter_and_write, functools.partial(fill, address, size_ // PAGE)) as child:
            child.step()
            (group.directory / "memory.swap.max").write_text(str(4 * size_), encoding="ascii")
            limit = group.directory / f"memory.{name}"
            limit.write_text(str(value("current") - HUGE), encoding="ascii")
            wait_until(lambda: smaps(address, "Swap", child.pid) >= HUGE // 2)
            found = asked(address, size_, pid=child.pid)
            (said,) = [line for line in found.attrs["also"] if line.startswith("swapped out: ")]
            assert "its memory cgroup has room for" in said
            cause = found[(found["check"] == "memory cgroup") & (found["about"] == "swap")].iloc[0]
            assert f"of {size(4 * size_)} swapped out" in cause["found"]
            assert str(limit) in cause["type_this"]
            done(cause["type_this"])
            child.step()  # each page comes back when it is touched
            assert smaps(address, "Swap", child.pid) == 0
            assert not [line for line in asked(address, size_, pid=child.pid).attrs["also"] if "swapped" in line]


def test_more_shared_pages_than_khugepaged_copies(new_map: NewMap) -> None:
    address = new_map(HUGE)
    write(address, HUGE)
    with forked():
        madvise(address, HUGE, HUGEPAGE)
        found = asked(address)
        refused(found, "shared pages", f"up to {PTES} {MOST} shared with another process", "max_ptes_shared")
        assert huge(address) == 0
    write(address, HUGE)  # before 6.18, no huge page is made where nothing may be written
    comes(address)


def test_shared_memory_without_huge_pages(new_map: NewMap) -> None:
    address = new_map(2 * HUGE, READ | WRITE, SHARED | ANONYMOUS, advice=HUGEPAGE)
    write(address, HUGE)
    found = asked(address, 2 * HUGE)
    refused(found, "shared memory", "(shmem_enabled: never)")
    assert huge(address) == 0
    with setting(THP / "shmem_enabled", "never"):  # it is restored after what is typed
        typed(found)
        write(address + HUGE, HUGE)
        assert huge(address) >= HUGE
        assert "shared memory" not in forbidden(asked(address, 2 * HUGE))


def test_an_empty_pool_of_hugetlb(new_map: NewMap) -> None:
    with setting(POOL, 0):
        address = new_map(HUGE, READ | WRITE, PRIVATE | ANONYMOUS | NORESERVE | hugetlb())
        found = asked(address)
        refused(found, "hugetlb", f"the pool of pages of {HUGE_WORDS} is empty", "SIGBUS")
        typed(found)
        write(address)
        assert smaps(address, "Private_Hugetlb") == HUGE
        assert str(asked(address)).startswith("on huge pages")
        madvise(address, HUGE, DONTNEED)


def test_memory_in_small_pieces(new_map: NewMap) -> None:
    some = 4 * HUGE
    with (
        setting(THP / "defrag", "never"),
        setting(KHUGEPAGED / "defrag", 0),
        setting(Path("/proc/sys/vm/min_free_kbytes"), 1024),
        setting(POOL, int(POOL.read_text(encoding="ascii"))),
    ):
        seen: dict[int, Why] = {}

        def is_tight() -> bool:
            """Set all pieces aside that are large enough: fragmented memory has none, either. Then touch memory."""
            left = free_memory.pieces(HUGE) or 0
            POOL.write_text(str(int(POOL.read_text(encoding="ascii")) + left), encoding="ascii")
            address = new_map(some, advice=HUGEPAGE)  # until the lists of huge pages that each CPU has are empty, too
            write(address, some)
            seen[address] = asked(address, some)
            return huge(address) < some and "free memory" in forbidden(seen[address])

        wait_until(is_tight, instead=lambda: f"{seen}\n{Path('/proc/buddyinfo').read_text(encoding='ascii')}")
        address, found = seen.popitem()
        assert found.attrs["line"].endswith(f"no {HUGE_WORDS} of free memory are in one piece")
    comes(address, some)


@pytest.mark.skipif(not (THP / "hugepages-64kB").exists(), reason="needs smaller sizes (6.8)")
def test_smaller_sizes_that_are_off(new_map: NewMap) -> None:
    made = THP / "hugepages-512kB" / "stats" / "anon_fault_alloc"
    address = new_map(HUGE // 4)
    write(address, HUGE // 4)
    found = asked(address, HUGE // 4)
    assert {"size and alignment", "smaller sizes"} <= forbidden(found)
    todo = row(found, "smaller sizes")["type_this"]
    assert todo.startswith(f"{AS_ROOT}echo always > {THP}/hugepages-512kB/enabled")
    with setting(THP / "hugepages-512kB" / "enabled", "never"):  # it is restored after what is typed
        done(todo)
        before = int(made.read_text(encoding="ascii"))
        madvise(address, HUGE // 4, DONTNEED)
        write(address, HUGE // 4)
        assert int(made.read_text(encoding="ascii")) > before
        assert "smaller sizes" not in forbidden(asked(address, HUGE // 4))


@pytest.mark.skipif(not Path("/sys/devices/system/node/node1").exists(), reason="needs two nodes")
def test_why_it_is_on_a_node(new_map: NewMap) -> None:
    address = new_map(2 * HUGE, advice=NOHUGEPAGE)
    write(address, 2 * HUGE)
    assert ("nodes" in set(asked(address, 2 * HUGE)["about"])) == (len(set(nodes(address, 2 * PTES))) > 1)
    for node in (0, 1):
        bind(address + node * HUGE, HUGE, node)
        madvise(address + node * HUGE, HUGE, DONTNEED)
    write(address, 2 * HUGE)
    assert {nodes(address, 1)[0], nodes(address + HUGE, 1)[0]} == {0, 1}
    found = asked(address, 2 * HUGE)
    said = next(line for line in found.attrs["also"] if line.startswith("on nodes: "))
    assert f"{HUGE_WORDS} on node 0, {HUGE_WORDS} on node 1" in said
    assert "bind:0" in said
    assert found.loc[found["check"] == "memory policy", "forbids"].all()
