"""Where pandas keeps its data, by what pandas itself says of its parts; and that a look leaves it as it was."""

from __future__ import annotations

import gc
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from handmade import PAGE

from pte_magic.errors import TargetError
from pte_magic.targets.objects import find, memory

if TYPE_CHECKING:
    from collections.abc import Callable

Blocks = list[tuple[int, int]]


def of_numpy(*arrays: Any) -> Blocks:
    """Return where arrays without gaps lie."""
    return [(array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays]


def weight(thing: object) -> int:
    """Return the bytes of all objects that hang on one, as far as the garbage collector knows."""
    apart = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
    seen, todo = {id(thing): thing}, [thing]
    while todo:
        for one in gc.get_referents(todo.pop()):
            if id(one) not in seen and not isinstance(one, apart):
                seen[id(one)] = one
                todo.append(one)
    # pandas' own idea of sizes computes, and keeps what it has computed.
    return sum(
        object.__sizeof__(one) if type(one).__module__.startswith("pandas") else sys.getsizeof(one)
        for one in seen.values()
    )


NUMBERS = np.arange(100.0)
DAYS: Any = pd.date_range("2026-01-01", periods=100)
ZONED: Any = DAYS.tz_localize("UTC")
MASKED: Any = pd.array([1, None, 3], dtype="Int64")
CODES = ["a", "b"] * 50
CATEGORIES: Any = pd.Categorical.from_codes([0, 1] * 50, categories=pd.Index([1.5, 2.5]))
SPANS: Any = pd.IntervalIndex.from_arrays(NUMBERS, NUMBERS + 1)
PAIRS: Any = pd.MultiIndex.from_product([np.arange(10.0), np.arange(10)])
SPARSE: Any = pd.arrays.SparseArray(np.arange(100) % 3 == 0)
IN_BLOCKS: Any = pd.arrays.SparseArray(NUMBERS // 40, kind="block")
THINGS: dict[str, tuple[Any, Callable[[], Blocks]]] = {
    "series": (pd.Series(NUMBERS, copy=False), lambda: of_numpy(NUMBERS)),
    "index": (pd.Index(NUMBERS), lambda: of_numpy(THINGS["index"][0].to_numpy())),
    "array": (pd.array(NUMBERS, dtype="float64", copy=False), lambda: of_numpy(NUMBERS)),
    "masked": (MASKED, lambda: of_numpy(MASKED._data, MASKED._mask)),
    "masked series": (pd.Series(MASKED, copy=False), lambda: of_numpy(MASKED._data, MASKED._mask)),
    "days": (DAYS, lambda: of_numpy(DAYS.asi8)),
    "time zone": (pd.Series(ZONED, copy=False), lambda: of_numpy(ZONED.asi8)),
    "periods": (periods := pd.period_range("2026", periods=100, freq="D"), lambda: of_numpy(periods.asi8)),
    "categorical": (CATEGORIES, lambda: of_numpy(CATEGORIES.codes, CATEGORIES.categories.to_numpy())),
    "category": (pd.Series(CATEGORIES, copy=False), lambda: memory(CATEGORIES)),
    "index of categories": (pd.CategoricalIndex(CATEGORIES), lambda: memory(CATEGORIES)),
    "intervals": (SPANS, lambda: of_numpy(SPANS.array.left.to_numpy(), SPANS.array.right.to_numpy())),
    "several levels": (PAIRS, lambda: of_numpy(*(level.to_numpy() for level in PAIRS.levels), *PAIRS.codes)),
    "sparse": (SPARSE, lambda: of_numpy(SPARSE.sp_values, SPARSE.sp_index.indices)),
    "sparse blocks": (
        IN_BLOCKS,
        lambda: of_numpy(IN_BLOCKS.sp_values, IN_BLOCKS.sp_index.blocs, IN_BLOCKS.sp_index.blengths),
    ),
    "labels of rows": (pd.Series(NUMBERS, index=DAYS, copy=False), lambda: of_numpy(NUMBERS, DAYS.asi8)),
    "a label columns": (
        named := pd.Series([1.0, 2.0], index=pd.Index(["columns", "array"], dtype=object)),
        lambda: of_numpy(named.to_numpy(), named.index.to_numpy()),
    ),
}


@pytest.mark.parametrize("name", THINGS)
def test_parts_are_all_there_and_nothing_else(name: str) -> None:
    thing, expected = THINGS[name]
    found = memory(thing)  # before pandas is asked, which keeps some of what it answers
    assert sorted(found) == sorted(expected())


def table() -> Any:
    return pd.DataFrame(
        {
            "a": np.arange(5000),
            "b": np.arange(5000.0),
            "c": pd.array([1, None] * 2500, "UInt64"),
            "d": pd.Categorical.from_codes([0, 1] * 2500, categories=pd.Index([1.5, 2.5])),
            "columns": np.arange(5000.0),
        },
        index=pd.date_range("2026-01-01", periods=5000, freq="min"),
    )


def test_a_data_frame_is_what_pandas_counts_of_it() -> None:
    frame = table()
    found = memory(frame)
    assert sum(end - start for start, end in found) == frame.memory_usage().sum()
    ((start, end),) = of_numpy(frame.index.asi8)
    assert (start, end) in found


def test_labels_named_as_attributes_are_labels() -> None:
    for thing in (table().dtypes, pd.DataFrame({"a": [1.5], "columns": [2.5]}).iloc[0]):
        assert "columns" in thing.index
        assert of_numpy(thing.to_numpy())[0] in memory(thing)
    assert "the objects are elsewhere" in find(table().dtypes).note


class NotLoaded(pd.api.extensions.ExtensionArray):
    """Somebody's array that has its data nowhere."""

    dtype = pd.CategoricalDtype()  # any

    def __len__(self) -> int:
        return 3


LOOKED_AT = {
    **{name: thing for name, (thing, _) in THINGS.items()},
    "frame": table(),
    "range": pd.RangeIndex(20_000),
    "frame of a range": pd.DataFrame({"a": np.arange(5000)}),
    "levels": pd.DataFrame({"a": np.arange(100)}, index=PAIRS.copy()),
}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_look_leaves_nothing_in_the_object(name: str) -> None:
    thing = LOOKED_AT[name]
    before = weight(thing)
    try:
        memory(thing)
    except TargetError:
        assert name == "range"
    assert weight(thing) == before


def test_a_range_has_no_array() -> None:
    frame = pd.DataFrame({"a": np.arange(5000)})
    with pytest.raises(TargetError, match="the RangeIndex has no array: it is a start, a stop and a step"):
        memory(frame.index)
    assert frame.index._cache == {}  # type: ignore[attr-defined]
    assert memory(frame) == of_numpy(frame["a"].to_numpy())


def test_an_empty_data_frame_has_no_memory() -> None:
    with pytest.raises(TargetError, match="the DataFrame holds 0 bytes"):
        memory(pd.DataFrame())


def test_somebody_s_array_that_shows_no_data_is_shown_itself() -> None:
    thing = NotLoaded()
    found = find(thing)
    assert found.is_itself
    assert found.note.startswith("the NotLoaded object itself, ")


def test_a_wide_table_is_not_taken_apart_by_columns() -> None:
    values = np.zeros((3 * PAGE, 1000))
    assert memory(pd.DataFrame(values, copy=False)) == of_numpy(values)
