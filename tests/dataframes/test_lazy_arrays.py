"""Columns that are decoded when somebody asks for them: pandas does with them what it does with its own arrays."""

from __future__ import annotations

import copy
import io
import pickle
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from pte_magic import PteFrame
from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PAGE, HUGE, START = 4096, 2 << 20, 1 << 30
GUARD = 0xFFFFFFFFFFFFF600
OF = kernel.of_release("x86_64")
# Bits of x86-64 (Intel SDM, volume 3A, tables 5-19 and 5-20) by the name of their column.
BITS = {"present": 0, "rw": 1, "user": 2, "accessed": 5, "dirty": 6, "global": 8, "nx": 63}


def swap(offset: int) -> int:
    return (~offset << 14 & (1 << 64) - 1) >> 5


def raw_entries() -> NDArray[np.uint64]:
    """Return pages with all sorts of bits, holes, places in swap and guards."""
    found = [(pfn * 7 & 0xFFFF) << 12 | pfn * 2 & 0x166 | 1 | (pfn & 1) << 63 for pfn in range(300)]
    found[40:60] = [0] * 20
    found[100:110] = [swap(offset) for offset in range(10)]
    found[200:204] = [GUARD] * 4
    return np.array(found, np.uint64)


def lazy() -> PteFrame:
    """Return a frame of pages, and of huge pages after them; nobody has asked for its values."""
    raw, huge = raw_entries(), np.array([0x40000000 + HUGE * at | 0xE7 for at in range(30)], np.uint64)
    spans = [(START, PAGE, len(raw), LEVELS.index("pte")), (START + 2 * HUGE, HUGE, len(huge), LEVELS.index("pmd"))]
    entries = Entries(np.concatenate([raw, huge]), np.array(spans, SPAN), "x86_64", "bpf")
    return pte_frame.build(entries, OF, pid=1)


def plain() -> PteFrame:
    """Return the same frame with arrays of pandas, made of Python's values."""
    table = lazy()
    dtypes: dict[Any, Any] = table.dtypes.to_dict()
    columns = {name: pd.array(table[name].tolist(), dtype=dtypes[name]) for name in table.columns}
    made = PteFrame(pd.DataFrame(columns))
    made.attrs = table.attrs
    return made


def classes(table: pd.DataFrame) -> set[str]:
    return {type(block.values).__module__.split(".")[0] for block in table._mgr.blocks}


def test_bits_are_those_of_the_manual() -> None:
    raw, table = raw_entries(), lazy()
    there = raw & np.uint64(1) == 1
    for name, bit in BITS.items():
        found = table[name].iloc[: len(raw)]
        assert found[there].tolist() == [bool(entry >> bit & 1) for entry in raw[there].tolist()], name
    assert table["pfn"].iloc[: len(raw)][there].tolist() == [
        (entry & (1 << 52) - 1) >> 12 for entry in raw[there].tolist()
    ]
    assert table["swap_offset"].iloc[100:110].tolist() == list(range(10))
    assert table["pfn"].iloc[-30:].tolist() == [0x40000 + 512 * at for at in range(30)]


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "first rows": lambda table: table.head(),
    "a slice of a slice": lambda table: table.iloc[20:120].iloc[::-3],
    "one row": lambda table: table.iloc[105],
    "the last value": lambda table: table["rw"].iloc[-1],
    "few rows": lambda table: table.iloc[[3, 101, -1]],
    "many rows": lambda table: table.iloc[::-1].iloc[np.arange(200)],
    "rows that are missing": lambda table: table.reindex([5, 1000, 7]),
    "a mask": lambda table: table[table["accessed"].fillna(value=False)],
    "a copy": lambda table: table.copy(),
    "a deep copy": copy.deepcopy,
    "sorted": lambda table: table.sort_values(["rw", "pfn"], kind="stable"),
    "grouped": lambda table: table.groupby("state", observed=True)[["rw", "dirty"]].sum(),
    "counted": lambda table: table["user"].value_counts(dropna=False),
    "one below the other": lambda table: pd.concat([table, table.iloc[:3]]),
    "merged": lambda table: table.merge(table[["vaddr", "nx"]], on="vaddr", suffixes=("", "_again")),
    "other dtypes": lambda table: table["present"].astype(object),
    "not missing": lambda table: table.notna(),
    "negated": lambda table: ~table["dirty"],
    "both": lambda table: table["dirty"] & table["rw"],
    "added": lambda table: table["pfn"] + 1,
    "transposed": lambda table: table[["rw", "nx"]].T,
    "text": lambda table: pd.DataFrame(table).to_string(),
    "shown": repr,
    "runs": lambda table: table.runs(),
    "pickled": lambda table: pickle.loads(pickle.dumps(table)),  # noqa: S301  (our own)
    "numbers": lambda table: table["swap_type"].to_numpy(np.int64, na_value=-1),
    "the array": lambda table: repr(table["rw"].array),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_pandas_does_the_same_with_lazy_arrays(operation: str) -> None:
    do = OPERATIONS[operation]
    table = lazy()
    found, expected = do(table), do(plain())
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(found, expected)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected or (pd.isna(found) and pd.isna(expected))
    pd.testing.assert_frame_equal(table, plain())


def test_parquet_keeps_all() -> None:
    file = io.BytesIO()
    lazy().to_parquet(file)
    pd.testing.assert_frame_equal(PteFrame(pd.read_parquet(file)), plain())


def test_pickles_need_no_class_of_ours_for_columns() -> None:
    table = lazy()
    text = pickle.dumps(table)
    assert b"lazy" not in text
    assert b"undecoded" not in text
    assert classes(pickle.loads(text)) == {"pandas", "numpy"}  # noqa: S301  (our own)


def test_what_is_written_is_in_all_views_and_in_no_copy() -> None:
    table, other = lazy(), lazy()
    early, part, view = table.copy(), table.iloc[:10], table[:]
    table.loc[0, "rw"] = pd.NA
    table.loc[1, "entry"] = 5
    table["dirty"] = table["dirty"].fillna(value=True)
    for untouched in (early, part, view):
        pd.testing.assert_frame_equal(pd.DataFrame(untouched), pd.DataFrame(other.iloc[: len(untouched)]))
    assert table["rw"].isna().iloc[0]
    assert table["entry"].iloc[1] == 5
    # Other columns are made of the entries that were read.
    pd.testing.assert_frame_equal(pd.DataFrame(table["pfn"]), pd.DataFrame(other["pfn"]))


def test_entries_are_not_changed_by_what_is_made_of_them() -> None:
    raw = raw_entries()
    spans = np.array([(START, PAGE, len(raw), LEVELS.index("pte"))], SPAN)
    table = pte_frame.build(Entries(raw.copy(), spans, "x86_64", "bpf"), OF, pid=1)
    array: Any = table["entry"].array.copy()
    array[:] = 7
    table["level"] = table["level"].cat.codes
    assert table["entry"].tolist() == raw.tolist()
    with pytest.raises(IndexError):
        table["rw"].array[len(raw)]


def test_a_row_takes_at_most_40_bytes() -> None:
    n = 1 << 17
    raw = np.arange(n, dtype=np.uint64) << np.uint64(12) | np.uint64(0x8000000000000867)
    entries = Entries(raw, np.array([(START, PAGE, n, LEVELS.index("pte"))], SPAN), "x86_64", "bpf")
    pte_frame.build(entries.part(0, 1), OF, pid=1)  # what is computed once
    tracemalloc.start()
    table = pte_frame.build(entries, OF, pid=1)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken + raw.nbytes <= 40 * n
    told = int(table.memory_usage(deep=True, index=False).sum())
    assert abs(told - taken - raw.nbytes) <= n  # and pandas tells how much it is
    assert table["rw"].all()
    assert int(table.memory_usage(deep=True, index=False).sum()) == told + 2 * n


def test_text_and_html_are_shown_together_as_alone_and_like_equals_decode_nothing_for_good() -> None:
    rng = np.random.default_rng(1)
    raw = rng.integers(1, 1 << 30, 5000).astype(np.uint64) << np.uint64(12) | np.uint64(0x8000000000000847)
    raw[1000:4000] |= rng.integers(0, 2, 3000).astype(np.uint64) << np.uint64(5)  # accessed, at random
    entries = Entries(raw, np.array([(START, PAGE, len(raw), LEVELS.index("pte"))], SPAN), "x86_64", "bpf")
    table = pte_frame.build(entries, OF, pid=1)
    before = table.memory_usage(deep=True)
    both = table._repr_mimebundle_()
    assert both == {"text/plain": repr(table), "text/html": table._repr_html_()}
    assert table.equals(pte_frame.build(entries, OF, pid=1))
    pd.testing.assert_series_equal(table.memory_usage(deep=True), before)
    table["rw"] = table["rw"].where(table["vaddr"] > START)
    assert table._repr_mimebundle_()["text/plain"] == repr(table) != both["text/plain"]


def read() -> PteFrame:
    """Return a frame that somebody has asked for two columns, of which one was changed to what it was."""
    table = lazy()
    assert table["rw"].any()
    dirty: Any = table["dirty"].array
    dirty[0] = dirty[0]
    return table


@pytest.mark.parametrize("left", [lazy, read, plain, lambda: pickle.loads(pickle.dumps(read()))])  # noqa: S301  (our own)
@pytest.mark.parametrize("right", [lazy, read, plain, lambda: read().copy()])
def test_equal_values_are_equal_whoever_has_asked_for_them(
    left: Callable[[], PteFrame], right: Callable[[], PteFrame]
) -> None:
    assert left().equals(right())
    assert right().equals(left())
    for name in ("rw", "swap_offset"):
        one, other = left()[name], right()[name]
        assert one.equals(other)
        assert pd.Index(one).equals(pd.Index(other))
        assert len(pd.Index(one).union(pd.Index(other)).unique()) == len(one.unique())
    changed = right()
    array: Any = changed["rw"].array
    array[0] = not array[0]
    assert not left().equals(changed)
    assert not changed.equals(left())
    assert not left()["rw"].equals(left()["swap_offset"])
