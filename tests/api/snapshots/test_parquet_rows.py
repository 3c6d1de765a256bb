"""Entries become rows of a file and come back as they were, whatever they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from comparing import assert_equal
from handmade import PAGE
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.api.snapshots import parquet_rows
from pte_magic.api.snapshots.origin_of_entries import Facts
from pte_magic.formats.x86_64 import FORMAT as X86_64
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

START = 1 << 30
PLACES = {"x86_64": 0x000F_FFFF_FFFF_F000, "pagemap": (1 << 55) - 1}

numbers = st.one_of(
    st.just(0),
    st.sampled_from([1, 0x1000, 0x1067, 0x2067, (1 << 52) - 1, (1 << 52) - 0x1000, 0x67, 1 << 63, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)
runs = st.lists(st.tuples(numbers, st.integers(1, 5), st.sampled_from([0, 1, PAGE, 512, 2 << 20, -PAGE])), min_size=1)
tables = st.lists(st.tuples(st.sampled_from([2 << 20, PAGE, 1 << 30]), runs), min_size=1, max_size=5)


def made(encoding: str, asked: list[Any], protnone: list[bool]) -> Entries:
    """Make entries, side by side from `START` on: of each table its size and runs of first, count and step."""
    entry: list[int] = []
    spans = []
    address = START
    for size, found in asked:
        below = [(first + k * step) % (1 << 64) for first, count, step in found for k in range(count)]
        level = -1 if encoding == "pagemap" and size == 1 << 30 else LEVELS.index("pte" if size == PAGE else "pmd")
        spans.append((address, size, len(below), level))
        address += size * len(below)
        entry += below
    denied = np.resize(np.array(protnone), len(entry)) if encoding == "pagemap" else None
    return Entries(np.array(entry, np.uint64), np.array(spans, SPAN), encoding, "bpf", denied, AddressBits(1 << 47))


def facts(found: Entries) -> Facts:
    return Facts("", "", 1, "", "", found.walker, found.encoding, 4, (), found.address_bits)


def written(found: Entries) -> parquet_rows.Columns:
    """Return the columns of entries as they are read from a file."""
    told = parquet_rows.of_entries(found, X86_64)
    back = parquet_rows.columns(parquet_rows.table(told), facts(found))
    assert back.checksum() == told.checksum()
    return back


@given(st.sampled_from([*PLACES]), tables, st.lists(st.booleans(), min_size=1))
def test_entries_come_back_as_they_were(encoding: str, asked: list[Any], protnone: list[bool]) -> None:
    found = made(encoding, asked, protnone)
    assert_equal(parquet_rows.entries(written(found), facts(found), 0, 1 << 57), found)


@given(st.sampled_from([*PLACES]), tables, st.lists(st.booleans(), min_size=1), st.data())
def test_a_part_is_what_lies_in_it(encoding: str, asked: list[Any], protnone: list[bool], data: st.DataObject) -> None:
    found = made(encoding, asked, protnone)
    last = int(found.vaddr[-1] + found.size[-1])
    start, end = sorted(data.draw(st.integers(START // PAGE - 1, last // PAGE + 1)) * PAGE for _ in range(2))
    part = parquet_rows.entries(written(found), facts(found), start, end + PAGE)
    inside = (found.vaddr < np.uint64(end + PAGE)) & (found.vaddr + found.size > np.uint64(start))
    for name in ("entry", "vaddr", "size", "level"):
        assert np.array_equal(getattr(part, name), getattr(found, name)[inside]), name


@given(st.sampled_from([*PLACES]), tables)
def test_rows_cover_what_the_entries_do_and_say_how_many_there_are(encoding: str, asked: list[Any]) -> None:
    found = made(encoding, asked, [False])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, parquet_rows.SCHEMA, **parquet_rows.OPTIONS) as writer:
        writer.write_table(parquet_rows.table(parquet_rows.of_entries(found, X86_64)))
    table = pq.read_table(pa.BufferReader(sink.getvalue())).to_pandas()
    assert table["count"].sum() == len(found)
    assert table["size"].sum() == found.size.sum()
    assert (table["vaddr"].iloc[1:].to_numpy() == (table["vaddr"] + table["size"]).iloc[:-1].to_numpy()).all()


def test_frames_side_by_side_and_empty_entries_are_a_row_each() -> None:
    frames = [0x8000_0000_1234_5067 + k * PAGE for k in range(100)]
    found = made("x86_64", [(PAGE, [(frames[0], 100, PAGE), (0, 412, 0)])], [False])
    assert parquet_rows.of_entries(found, X86_64).count.tolist() == [100, 412]
    words = made("pagemap", [(2 << 20, [(1 << 63 | 512, 4, 512)])], [False])
    assert parquet_rows.of_entries(words, X86_64).count.tolist() == [4]
