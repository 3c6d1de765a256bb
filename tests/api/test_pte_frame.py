"""`PteFrame`: columns, what pandas does with it, runs and summaries against plain loops."""

from __future__ import annotations

import io
import pickle
import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pte_magic
from pte_magic import PteFrame
from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.formats.registry import FORMATS
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE, MIB2, START = 4096, 2 << 20, 1 << 30
GUARD = 0xFFFFFFFFFFFFF600
BOOLEANS = [
    "present", "rw", "user", "accessed", "dirty", "global", "special", "soft_dirty", "uffd_wp", "nx", "saved_dirty",
    "devmap", "encrypted", "swp_exclusive", "file", "mmap_exclusive",
]  # fmt: skip
DTYPES = {
    "vaddr": "uint64", "size": "uint64", "level": "category", "entry": "UInt64", "state": "category",
    "kind": "category", "pfn": "UInt64", **dict.fromkeys(BOOLEANS, "boolean"), "cache": "category", "pkey": "UInt8",
    "swap_type": "UInt8", "swap_offset": "UInt64", "host": "category", "pid": "int64", "walker": "category",
    "format": "category",
}  # fmt: skip


def test_every_bit_is_named_in_the_documentation() -> None:
    documented = set(re.findall(r"``(\w+)``", str(PteFrame.__doc__)))
    assert {*DTYPES, *(name for of in FORMATS.values() for name in of.columns)} <= documented


def page(pfn: int, flags: int = 0x67) -> int:
    return pfn << 12 | flags | 1 << 63


def swap(offset: int) -> int:
    return (~offset << 14 & (1 << 64) - 1) >> 5


def made(spans: Sequence[tuple[int, int, str, Sequence[int]]], pid: int = 1) -> PteFrame:
    """Return the frame of some spans: first address, size, level, raw entries."""
    rows = [(vaddr, size, len(raw), LEVELS.index(level)) for vaddr, size, level, raw in spans]
    entries = np.array([entry for *_, raw in spans for entry in raw], np.uint64)
    return pte_frame.build(Entries(entries, np.array(rows, SPAN), "x86_64", "bpf"), kernel.running(), pid=pid)


def pages(*raw: int, pid: int = 1) -> PteFrame:
    return made([(START, PAGE, "pte", raw)], pid)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return plain Python values, None where one is missing."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


MIXED = [page(5), 0, swap(9), GUARD, page(7, 0x25)]


@pytest.mark.parametrize("raw", [[], [0], MIXED], ids=["empty", "nothing", "mixed"])
def test_columns_and_dtypes_are_always_the_same(raw: list[int]) -> None:
    table = pages(*raw)
    assert [*table.dtypes.astype(str).items()] == [*DTYPES.items()]
    assert table["level"].cat.ordered
    assert table["level"].cat.categories.tolist() == ["pgd", "p4d", "pud", "pmd", "pte"]


def test_a_real_walk_has_the_same_columns(walker: str) -> None:
    table = pte_magic.walk(np.ones(10000), walker=walker)
    assert [*table.dtypes.astype(str).items()] == [*DTYPES.items()]


@pytest.mark.parametrize(
    "part",
    [
        lambda table: table[table["rw"]],
        lambda table: table.iloc[1:3],
        lambda table: table.query("size == 4096"),
        lambda table: table[["vaddr", "pfn"]],
        lambda table: table.sort_values("pfn"),
        lambda table: table.drop(columns="host"),
        lambda table: pd.concat([table, table]),
        lambda table: pickle.loads(pickle.dumps(table)),  # noqa: S301  (our own)
        lambda table: table.copy(),
        lambda table: table.runs(),
    ],
)
def test_what_is_made_of_a_frame_is_a_frame(part: Any) -> None:
    assert type(part(pages(*MIXED))) is PteFrame


def test_a_missing_bit_is_not_set_when_rows_are_selected() -> None:
    table = pages(*MIXED)
    assert table[table["rw"]]["pfn"].tolist() == [5]
    assert table[table["dirty"] & ~table["nx"]].empty


def test_frames_of_two_processes_are_concatenated_without_loss() -> None:
    both = pd.concat([pages(*MIXED, pid=1), pages(*MIXED, pid=2)], ignore_index=True)
    assert both.dtypes.astype(str).to_dict() == DTYPES
    assert both["entry"].tolist() == MIXED * 2
    assert both.groupby("pid")["present"].sum().to_dict() == {1: 2, 2: 2}


def test_pickle_keeps_everything() -> None:
    table = pages(*MIXED)
    again = pickle.loads(pickle.dumps(table))  # noqa: S301  (our own)
    pd.testing.assert_frame_equal(again, table)


def test_parquet_keeps_entries_above_2_to_the_53() -> None:
    pytest.importorskip("pyarrow")
    table, file = pages(*MIXED, page((1 << 40) - 1)), io.BytesIO()
    table.to_parquet(file)
    again = pd.read_parquet(file)
    assert again["entry"].tolist() == [*MIXED, page((1 << 40) - 1)]
    pd.testing.assert_frame_equal(again, pd.DataFrame(table))


pieces = st.lists(
    st.tuples(
        st.sampled_from(["page", "read-only", "protnone", "swap", "none", "guard", "huge"]),
        st.integers(1, 4),  # entries
        st.integers(1, 3),  # where the frames begin: often just where those before ended
        st.booleans(),  # whether there is a gap before it
    ),
    max_size=8,
)


def build(drawn: list[tuple[str, int, int, bool]]) -> PteFrame:
    spans, at, frames = [], START, {"": 8}
    for what, count, first, gap in drawn:
        size = MIB2 if what == "huge" else PAGE
        at = -(-(at + gap * size) // size) * size
        step = size // PAGE
        begin = frames[""] if first == 1 else first * 512
        numbers = range(begin, begin + count * step, step)
        makes: dict[str, Any] = {
            "page": page, "read-only": lambda pfn: page(pfn, 0x25), "swap": swap, "none": lambda _: 0,
            "protnone": lambda pfn: (~(pfn << 12) & 0x000F_FFFF_FFFF_F000) | 0x120, "guard": lambda _: GUARD,
            "huge": lambda pfn: page(pfn & -512, 0xE7),
        }  # fmt: skip
        spans.append((at, size, "pmd" if what == "huge" else "pte", [makes[what](number) for number in numbers]))
        at += count * size
        frames[""] = numbers[-1] + step
    return made(spans)


def continues(before: dict[str, Any], row: dict[str, Any]) -> bool:
    expected = {**before, "vaddr": before["vaddr"] + before["size"], "entry": row["entry"]}
    for name, moves in {"pfn": before["pfn"] is not None, "swap_offset": before["state"] == "swap"}.items():
        if moves:
            expected[name] = before[name] + before["size"] // PAGE
    return expected == row


@given(pieces)
def test_runs_merge_what_differs_in_nothing_but_where_it_is(drawn: list[tuple[str, int, int, bool]]) -> None:
    table = build(drawn)
    rows = records(table)
    starts = [0, *(i + 1 for i, pair in enumerate(pairwise(rows)) if not continues(*pair))] if rows else []
    counts = [end - start for start, end in pairwise([*starts, len(rows)])] if rows else []
    found = table.runs()
    assert [*found.columns[:5]] == ["vaddr", "size", "entries", "bytes", "level"]
    assert found["entries"].tolist() == counts
    assert found["bytes"].tolist() == [count * rows[at]["size"] for count, at in zip(counts, starts, strict=True)]
    assert records(found.drop(columns=["entries", "bytes"])) == [rows[at] for at in starts]
    assert (str(found["entries"].dtype), str(found["bytes"].dtype)) == ("int64", "uint64")


@given(pieces)
def test_summary_counts_entries_and_bytes(drawn: list[tuple[str, int, int, bool]]) -> None:
    table = build(drawn)
    entries: Counter[tuple[str, int]] = Counter()
    covered: Counter[tuple[str, int]] = Counter()
    for row in records(table):
        key = (row["state"], 0 if row["state"] == "none" else row["size"])
        entries[key] += 1
        covered[key] += row["size"]
    found = table.summary()
    assert (found["entries"].to_dict(), found["bytes"].to_dict()) == (dict(entries), dict(covered))


def test_tables_cover_nothing_in_a_summary() -> None:
    found = made([(0, MIB2, "pmd", [0x1067]), (0, PAGE, "pte", [page(1)] * 512)]).summary()
    assert found["bytes"].to_dict() == {("table", 0): 0, ("present", PAGE): MIB2}
