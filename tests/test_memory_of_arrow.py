"""Where Arrow's columns keep their data, by themselves and in pandas. Not everywhere is there an Arrow."""

from __future__ import annotations

import ctypes
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pte_magic.errors import TargetError
from pte_magic.memory import memory

Blocks = list[tuple[int, int]]


def of_arrow(thing: Any) -> Blocks:
    return [(buffer.address, buffer.address + buffer.size) for buffer in thing.buffers() if buffer]


@pytest.mark.parametrize(
    "column",
    [pd.Series([1, 2, 3], dtype="int64[pyarrow]"), pd.Series([f"word {i}" for i in range(100)], dtype="str")],
    ids=["arrow", "string"],
)
def test_pandas_columns(column: Any) -> None:
    assert memory(column) == of_arrow(pa.array(column.array))


def test_a_buffer() -> None:
    text = b"x" * 5000
    at = ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0
    assert memory(pa.py_buffer(text)) == [(at, at + 5000)]


def test_arrow_goes_down_to_the_buffers() -> None:
    column, words = pa.array([1, None, 3]), pa.array(["a", "bc", "def"])
    chunked = pa.chunked_array([column, column.slice(0)])
    table = pa.table({"numbers": column, "words": words})
    assert memory(column) == of_arrow(column)
    assert memory(chunked) == of_arrow(column) * 2
    assert memory(table) == of_arrow(column) + of_arrow(words)
    assert memory(table.to_batches()[0]) == memory(table)


def test_nothing_has_no_memory() -> None:
    with pytest.raises(TargetError, match="holds 0 bytes"):
        memory(pa.array([], pa.int64()))
