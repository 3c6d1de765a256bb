"""`PteFrame.regions`: the sums of each region against smaps and status, of a child that holds still."""

from __future__ import annotations

import os
import pickle
import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from accounting import expected, holding_still
from conftest import RAW, Child, forked, needs_root
from handmade import DONTNEED, HUGE, HUGEPAGE, NOHUGEPAGE, PAGE, PTES, READ, NewMap, madvise, mprotect, write
from waiting import wait_until

import pte_magic
from pte_magic import PteFrame, Regions, TargetError
from pte_magic.errors import NoSuchProcessError
from pte_magic.text import units

if TYPE_CHECKING:
    from collections.abc import Iterator

_HUGE = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")
_HUGETLB = ("Private_Hugetlb", "Shared_Hugetlb")


@pytest.fixture
def still(new_map: NewMap) -> Iterator[Child]:
    with holding_still(new_map) as child:
        yield child


def of_smaps(pid: int) -> dict[int, dict[str, int]]:
    """Return the sizes of smaps in bytes, and the size of each region, by its first address."""
    found: dict[int, dict[str, int]] = {}
    for line in Path(f"/proc/{pid}/smaps").read_bytes().splitlines():
        if head := re.match(rb"([0-9a-f]+)-([0-9a-f]+) ", line):
            start = int(head[1], 16)
            found[start] = {"size": int(head[2], 16) - start}
        elif size := re.match(rb"(\w+): +(\d+) kB", line):
            found[start][size[1].decode()] = int(size[2]) << 10
    return {start: sizes for start, sizes in found.items() if start < 1 << 63}  # not [vsyscall]


def kernels(pid: int, columns: set[str]) -> dict[int, dict[str, int]]:
    """Return what the kernel says of each region, as the columns have it."""
    found = {}
    for start, of in of_smaps(pid).items():
        hugetlb = sum(of[name] for name in _HUGETLB)
        told = {
            "size": of["size"],
            "resident": of["Rss"] + hugetlb,
            "huge": sum(of[name] for name in _HUGE) + hugetlb,
            "shared": of["Shared_Clean"] + of["Shared_Dirty"] + of["Shared_Hugetlb"],
        }
        found[start] = {name: told[name] for name in columns}
    return found


def ours(table: Regions, columns: set[str]) -> dict[int, dict[str, int]]:
    table = table.assign(huge=(table["huge_share"].fillna(0) * table["resident"]).round().astype("UInt64"))
    return {int(row["vaddr"]): {name: int(row[name]) for name in columns} for row in table.to_dict("records")}


def test_every_sum_is_the_kernels(still: Child, level_walker: str) -> None:
    seen: list[object] = []

    def do() -> bool:
        table = pte_magic.walk("all", pid=still.pid, walker=level_walker).regions()
        columns = {"size", "resident", "huge"} | ({"shared"} if table["shared"].notna().all() else set())
        assert level_walker != "pagemap" or "shared" in columns
        before, found, after = kernels(still.pid, columns), ours(table, columns), kernels(still.pid, columns)
        seen[:] = [{start: (before[start], found.get(start)) for start in before if before[start] != found.get(start)}]
        assert table["swapped"].sum() == expected(still.pid)["swapped"]
        return before == after and found == before  # what it shares becomes less shared when others write

    wait_until(do, instead=lambda: str(seen))


def test_page_tables_add_up_to_those_of_the_process(still: Child, raw_walker: str) -> None:
    table = pte_magic.walk("all", pid=still.pid, walker=raw_walker).regions()
    assert table["page_tables"].sum() == expected(still.pid, huge_zeros=1)["page_tables"]
    (process,) = pte_magic.machine(walker=raw_walker).query(f"pid == {still.pid}").to_dict("records")
    assert table["page_tables"].sum() == process["page_tables"]
    assert table["resident"].sum() == process["resident"]


@pytest.mark.parametrize(("first", "pages"), [(0, 1), (1, PTES - 1)])
def test_huge_pages_that_are_shared_in_part_are_as_smaps_counts_them(first: int, pages: int, new_map: NewMap) -> None:
    start = new_map(2 * HUGE, advice=HUGEPAGE)
    write(start, 2 * HUGE)
    if of_smaps(os.getpid())[start]["AnonHugePages"] != 2 * HUGE:
        pytest.skip("there are no huge pages left")
    with forked(lambda: madvise(start + first * PAGE, pages * PAGE, DONTNEED)) as child:
        child.step()
        frame = pte_magic.walk(start, start + 2 * HUGE)
        table = frame.regions().set_index("vaddr")
        assert table.loc[start, "shared"] == kernels(os.getpid(), {"shared"})[start]["shared"]
        assert table.loc[start, "shared"] == 2 * HUGE - pages * PAGE
        part = frame.iloc[:1].regions().set_index("vaddr")  # smaps has no sums of a part
        assert part.loc[[start], "shared"].isna().all()


def test_a_table_below_several_regions_counts_for_the_first(new_map: NewMap, raw_walker: str) -> None:
    start = new_map(HUGE, advice=NOHUGEPAGE)
    write(start, HUGE)
    first, second = start + 4 * PAGE, start + PTES // 2 * PAGE
    mprotect(first, second - first, READ)
    table = pte_magic.walk(start, start + HUGE, walker=raw_walker).regions().set_index("vaddr")
    assert table.loc[[start, first, second], "page_tables"].tolist()[1:] == [0, 0]
    assert table["page_tables"].loc[start] >= PAGE
    # Of a part, only the tables that its rows are in are known, and they still count once.
    part = pte_magic.walk(second, second + PAGE, walker=raw_walker).regions()
    assert part["page_tables"].sum() == table["page_tables"].sum() > 0
    assert part.set_index("vaddr").loc[second, "resident"] == PAGE


def test_the_largest_is_first_and_names_and_permissions_are_those_of_maps(still: Child) -> None:
    table = pte_magic.walk("all", pid=still.pid).regions()
    assert table["resident"].is_monotonic_decreasing
    lines = Path(f"/proc/{still.pid}/maps").read_text(encoding="utf-8").splitlines()
    maps = {int(line.split("-")[0], 16): line.split(maxsplit=5)[1:2] + line.split(maxsplit=5)[5:] for line in lines}
    for vaddr, permissions, name in zip(table["vaddr"], table["permissions"], table["region"], strict=True):
        assert maps[vaddr] == [permissions, *([name] if name else [])]


def test_a_whole_address_space_shows_itself_by_region_and_its_parts_as_entries(still: Child) -> None:
    whole = pte_magic.walk("all", pid=still.pid)
    assert isinstance(whole, PteFrame)
    table = whole.regions()
    resident = units.size(int(table["resident"].sum()))
    for shown in (repr(whole), unescape(whole._repr_html_() or "")):
        assert f"{len(table):,} regions, " in shown
        assert f": {resident} resident (" in shown
        assert f"a sum of {len(whole):,} entries; .runs() shows these" in shown
    for part in (whole.copy(), whole.runs(), whole[whole["state"] == "present"], pickle.loads(pickle.dumps(whole))):  # noqa: S301  (its own)
        assert "bits that are set" in repr(part) or "entry" in repr(part)
        assert " regions, " not in repr(part)
    assert " regions, " not in repr(pte_magic.walk("all", pid=still.pid, tables=True))
    del whole["vaddr"]
    assert " regions, " not in repr(whole)


def test_the_largest_are_shown_and_all_if_pandas_is_told_so(still: Child) -> None:
    table = pte_magic.walk("all", pid=still.pid).regions()
    shown = repr(table).splitlines()
    assert sum("0x" in line for line in shown) == min(len(table), 10)
    rest = units.size(int(table["resident"].iloc[10:].sum()))
    assert any(f"{len(table) - 10:,} more regions with {rest} resident" in line for line in shown)
    with pd.option_context("display.max_rows", None):
        assert sum("0x" in line for line in repr(table).splitlines()) == len(table)


def test_it_is_a_table_like_any_other(still: Child) -> None:
    table = pte_magic.walk("all", pid=still.pid).regions()
    again = pickle.loads(pickle.dumps(table))  # noqa: S301  (its own)
    assert type(again) is Regions
    pd.testing.assert_frame_equal(again, table)
    assert type(table[table["resident"] > 0]) is Regions
    assert type(table.groupby("region")["resident"].sum()) is pd.Series
    assert repr(table[["vaddr", "resident"]])
    assert repr(table.iloc[:0])
    types = {name: str(dtype) for name, dtype in table.dtypes.items()}
    assert all(f"``{name}``" in (Regions.__doc__ or "") for name in types)
    for name, dtype in re.findall(r"^    ``(\w+)`` +(\w+) ", Regions.__doc__ or "", re.MULTILINE):
        assert types[name] == dtype


def test_several_processes_and_none() -> None:
    with forked() as one, forked() as other:
        frames = [pte_magic.walk("all", pid=child.pid) for child in (one, other)]
        joined = pd.concat(frames, ignore_index=True).regions()
        for child, frame in zip((one, other), frames, strict=True):
            mine = joined[joined["pid"] == child.pid]
            assert mine["resident"].sum() == frame.regions()["resident"].sum()
    assert len(frames[0].iloc[:0].regions()) == 0
    assert len(frames[0].regions()) > 0  # its own regions are known
    with pytest.raises(NoSuchProcessError):
        frames[0].copy().regions()


@needs_root
def test_frames_that_have_no_regions_here_are_refused() -> None:
    frame = pte_magic.walk("[stack]", walker=RAW)
    with pytest.raises(TargetError, match=r"one row per run.*before \.runs\(\)"):
        frame.runs().regions()
    with pytest.raises(TargetError, match=r"'elsewhere'.*call regions"):
        frame.assign(host=pd.Categorical(["elsewhere"] * len(frame))).regions()
    with pytest.raises(TargetError, match="needs the columns"):
        frame.drop(columns="state").regions()
    assert frame.regions()["resident"].max() == frame.loc[frame["state"] == "present", "size"].sum() > np.uint64(0)


def test_one_page_of_which_nothing_is_known_takes_away_no_total(new_map: NewMap) -> None:
    start = new_map(8 * PAGE, advice=NOHUGEPAGE)
    write(start, 8 * PAGE)
    with forked():
        frame = pte_magic.walk("all")
    mine = frame["vaddr"].between(start, start + 7 * PAGE)
    if frame.loc[mine, "mmap_exclusive"].isna().any():
        pytest.skip("needs pagemap and raw entries of one moment")
    frame.loc[frame.index[mine][0], "mmap_exclusive"] = pd.NA
    table = frame.regions()
    row = table[table["vaddr"] <= start].sort_values("vaddr").tail(1)  # neighbours may be one region with it
    assert row["shared"].isna().all()
    (known,) = [part for _, vaddr, part in table.attrs["shared_at_least"] if vaddr == row["vaddr"].iloc[0]]
    assert known >= 7 * PAGE
    total = int(table["shared"].sum()) + sum(part for *_, part in table.attrs["shared_at_least"])
    assert f"; at least {units.size(total)} shared" in " ".join(repr(table).split())
    with pd.option_context("display.max_rows", None):
        assert f"≥ {units.size(known)} " in repr(table)
        assert "≥ and - in shared: " in " ".join(repr(table).split())
