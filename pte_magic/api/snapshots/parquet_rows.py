"""Entries as rows of a Parquet file, and back.

A row is a run of neighbouring entries of one level that are all empty, or map consecutive page frames with the same
bits. So a few rows hold many entries, and writing takes less time than reading the entries did.

==============  ==========================  ======================================================================
``vaddr``       uint64                      first address that the run covers
``size``        uint64                      bytes that it covers
``count``       uint32                      entries that it stands for
``level``       dictionary of strings       pgd, p4d, pud, pmd or pte; null where pagemap does not say
``entry``       uint64                      the first raw entry, in the encoding that the metadata name
``protnone``    bool                        pagemap only, else null: the pages lie in a region that allows no access
==============  ==========================  ======================================================================

If the bits of the page frame in ``entry`` are 0, as in an empty entry or where page frames are hidden, all entries of
the run are the same. Otherwise each entry maps the next page frame: a raw entry is ``size / count`` more than the one
before, a word of pagemap that many pages more. A row group is one piece of a walk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pte_magic.api.snapshots import checks
from pte_magic.api.snapshots.checks import must
from pte_magic.formats.field import Shape
from pte_magic.formats.format import frame_mask
from pte_magic.linux.geometry import LEVELS
from pte_magic.linux.pagemap import PLACE
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.api.snapshots.origin_of_entries import Facts
    from pte_magic.formats.format import Format

SCHEMA = pa.schema(
    [
        pa.field("vaddr", pa.uint64(), nullable=False),
        pa.field("size", pa.uint64(), nullable=False),
        pa.field("count", pa.uint32(), nullable=False),
        pa.field("level", pa.dictionary(pa.int8(), pa.string())),
        pa.field("entry", pa.uint64(), nullable=False),
        pa.field("protnone", pa.bool_()),
    ]
)
# lz4 is the fastest, and with the eight bytes of each number apart, most of which hardly change, it is small, too.
OPTIONS = {
    "compression": "lz4",
    "use_dictionary": ["level"],
    "column_encoding": dict.fromkeys(("vaddr", "size", "entry"), "BYTE_STREAM_SPLIT"),
    "write_statistics": ["vaddr"],
}
"""For `pyarrow.parquet.ParquetWriter`."""

_LEVELS = pa.array(LEVELS)


def _frame(encoding: str, of: Format) -> tuple[np.uint64, np.uint64]:
    """Return the bits of the page frame, and the distance to the next page frame, as a shift of its bytes."""
    if encoding == "pagemap":
        return PLACE, np.uint64(of.page_shift)
    return np.uint64(frame_mask(of, Shape.PAGE)), np.uint64(0)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a row group."""

    vaddr: NDArray[np.uint64]
    size: NDArray[np.uint64]
    count: NDArray[np.uint32]
    level: NDArray[np.int8]
    """Indices of `LEVELS`, -1 where unknown."""
    entry: NDArray[np.uint64]
    protnone: NDArray[np.bool_] | None

    def checksum(self) -> int:
        """Return the checksum of all columns."""
        every = (self.vaddr, self.size, self.count, self.level, self.entry, self.protnone)
        return checks.checksum([column for column in every if column is not None])


def table(found: Columns) -> Any:
    """Return a row group as a `pyarrow.Table`."""
    unknown = found.level < 0
    nulls = unknown if unknown.any() else None
    columns = [
        pa.array(found.vaddr),
        pa.array(found.size),
        pa.array(found.count),
        pa.DictionaryArray.from_arrays(pa.array(found.level, mask=nulls), _LEVELS, safe=False),
        pa.array(found.entry),
        pa.nulls(len(found.vaddr), pa.bool_()) if found.protnone is None else pa.array(found.protnone),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def of_entries(found: Entries, of: Format) -> Columns:
    """Return entries as columns, one row per run; `of` is the format of their host's entries."""
    spans = found.spans
    ends = np.cumsum(spans["count"], dtype=np.int64)
    first = _firsts(found, spans, ends, of)
    runs = np.diff(np.searchsorted(first, ends), prepend=0)  # of each span
    each = np.repeat(spans["size"], runs)
    origin = spans["vaddr"] - (ends - spans["count"]).astype(np.uint64) * spans["size"]
    count = np.diff(first, append=len(found)).astype(np.uint32)
    return Columns(
        np.repeat(origin, runs) + first.astype(np.uint64) * each,
        each * count.astype(np.uint64),
        count,
        np.repeat(spans["level"].astype(np.int8), runs),
        found.entry[first],
        None if found.protnone is None else found.protnone[first],
    )


def _firsts(found: Entries, spans: NDArray[Any], ends: NDArray[np.int64], of: Format) -> NDArray[np.intp]:
    """Return where runs begin, ``intp[n]``; none goes beyond its span."""
    entry = found.entry
    frame, shift = _frame(found.encoding, of)
    sizes = spans["size"]
    step = (sizes[0] if (sizes == sizes[0]).all() else np.repeat(sizes, spans["count"])[1:]) >> shift
    begins = np.empty(len(entry), np.bool_)
    begins[0] = True
    nowhere = entry & frame == 0
    more = entry[1:] - entry[:-1]
    # The rule of entries(): a run is nowhere or somewhere as its first one is.
    np.not_equal(more, np.where(nowhere[1:], np.uint64(0), step), out=begins[1:])
    begins[1:] |= nowhere[1:] != nowhere[:-1]
    begins[ends[:-1]] = True
    if found.protnone is not None:
        begins[1:] |= found.protnone[1:] != found.protnone[:-1]
    return np.flatnonzero(begins)


def columns(rows: Any, facts: Facts) -> Columns:
    """Return the columns of a `pyarrow.Table`, as far as they may be those of entries.

    Raises:
        ValueError: They are not.

    """
    wanted = ("vaddr", "size", "count", "entry")
    vaddr, size, count, entry = (rows[name].to_numpy() for name in wanted)
    must(not any(rows[name].null_count for name in wanted), "a number is missing")
    level = np.full(len(vaddr), -1, np.int8)
    if len(vaddr):
        named = rows["level"].combine_chunks()
        place = np.array([LEVELS.index(name) for name in named.dictionary.to_pylist()] + [-1], np.int8)
        level = place[named.indices.fill_null(len(place) - 1).to_numpy()]
    protnone = None
    if facts.encoding == "pagemap":
        must(not rows["protnone"].null_count, "it does not say which regions allow no access")
        protnone = rows["protnone"].to_numpy().astype(np.bool_)
    checks.consistent(vaddr, size, count, 1 << facts.kernel.format.page_shift)
    return Columns(vaddr, size, count, level, entry, protnone)


def entries(found: Columns, facts: Facts, start: int, end: int) -> Entries:
    """Return the entries of a row group that lie in ``[start, end)``, also in part."""
    vaddr, size, count, first = found.vaddr, found.size, found.count, found.entry
    each = size // count
    frame, shift = _frame(facts.encoding, facts.kernel.format)
    step = np.where(first & frame == 0, np.uint64(0), each >> shift)
    # Of each run, what lies in the range.
    before = np.minimum(np.maximum(start - vaddr.astype(np.int64), 0) // each.astype(np.int64), count)
    after = np.maximum((vaddr + size).astype(np.int64) - end, 0) // each.astype(np.int64)
    left = np.maximum(count - before - after, 0)
    skipped = before.astype(np.uint64)
    vaddr, first = vaddr + skipped * each, first + skipped * step
    entry = np.repeat(first, left)
    if (left > 1).any():
        within = np.arange(len(entry), dtype=np.uint64) - np.repeat((np.cumsum(left) - left).astype(np.uint64), left)
        entry += within * np.repeat(step, left)
    protnone = None if found.protnone is None else np.repeat(found.protnone, left)
    spans = _spans(vaddr, each, left, found.level)
    return Entries(entry, spans, facts.encoding, facts.walker, protnone, facts.address_bits)


def _spans(
    vaddr: NDArray[np.uint64], size: NDArray[np.uint64], count: NDArray[np.int64], level: NDArray[np.int8]
) -> NDArray[Any]:
    """Return runs of `count` entries each as spans, ``SPAN[m]``; those that go on where the one before ends are one."""
    there = count > 0
    vaddr, size, count, level = vaddr[there], size[there], count[there], level[there]
    if not len(vaddr):
        return np.empty(0, SPAN)
    ends = vaddr + size * count.astype(np.uint64)
    goes_on = (vaddr[1:] == ends[:-1]) & (size[1:] == size[:-1]) & (level[1:] == level[:-1])
    first = np.concatenate(([0], np.flatnonzero(~goes_on) + 1))
    spans = np.empty(len(first), SPAN)
    spans["vaddr"], spans["size"], spans["level"] = vaddr[first], size[first], level[first]
    spans["count"] = np.add.reduceat(count, first)
    return spans
