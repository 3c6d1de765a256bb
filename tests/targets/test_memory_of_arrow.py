"""Where Arrow's data lies, by itself and in pandas, against pyarrow's own numbers. Not everywhere is there an Arrow."""

from __future__ import annotations

import ctypes
import decimal
import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from handmade import PAGE

from pte_magic.errors import TargetError
from pte_magic.targets.objects import find, memory

if TYPE_CHECKING:
    from collections.abc import Iterator

Blocks = list[tuple[int, int]]
N = 1000


def holes(values: list[Any]) -> list[Any]:
    return [None if at % 7 == 3 else value for at, value in enumerate(values)]


WORDS = pa.array(holes([f"{at}, " * (at % 9) for at in range(N)]))
LISTS = pa.array(holes([list(range(at % 6)) for at in range(N)]))
ODD = pa.array([at % 2 for at in range(N)], pa.int8())
HALVES = [pa.array(range(N // 2)), pa.array([f"odd {at}" for at in range(N // 2)])]
ARRAYS: dict[str, Any] = {
    "numbers": pa.array(holes(list(range(N)))),
    "no holes": pa.array(np.ones(N, np.float16)),
    "bits": pa.array(holes([at % 2 == 0 for at in range(N)])),
    "decimals": pa.array([decimal.Decimal("1.23")] * N),
    "fixed bytes": pa.array([b"abc"] * N, pa.binary(3)),
    "nothing": pa.nulls(N),
    "words": WORDS,
    "large words": WORDS.cast(pa.large_string()),
    "bytes": WORDS.cast(pa.binary()),
    "lists": LISTS,
    "large lists": LISTS.cast(pa.large_list(pa.int64())),
    "lists of words": pa.array(holes([[f"word {at}"] * (at % 4) for at in range(N)])),
    "pairs": pa.array([[1, 2]] * N, pa.list_(pa.int32(), 2)),
    "map": pa.array(holes([[(f"key {at}", at)] * (at % 3) for at in range(N)]), pa.map_(pa.string(), pa.int64())),
    "structure": pa.array(holes([{"a": at, "b": f"text {at}"} for at in range(N)])),
    "dictionary": WORDS.dictionary_encode(),
    "sparse union": pa.UnionArray.from_sparse(ODD, [pa.array(range(N)), pa.array([f"odd {at}" for at in range(N)])]),
    "dense union": pa.UnionArray.from_dense(ODD, pa.array([at // 2 for at in range(N)], pa.int32()), HALVES),
    "runs": pc.run_end_encode(pa.array([at // 10 for at in range(N)])),
    "views": pa.array(WORDS.to_pylist(), pa.string_view()) if hasattr(pa, "string_view") else None,
    "list views": pa.ListViewArray.from_arrays(
        pa.array(range(N), pa.int32()), pa.array([1] * N, pa.int32()), pa.array(range(N))
    )
    if hasattr(pa, "ListViewArray")
    else None,
}
ARRAYS = {name: array for name, array in ARRAYS.items() if array is not None}  # views are new in pyarrow 16
UNCOUNTED = {"words": 4, "bytes": 4, "large words": 8, "lists": 4, "large lists": 8, "lists of words": 8, "map": 8}
UNCOUNTED |= {"sparse union": 4, "dense union": 4, "dictionary": 4}
"""Bytes of the last offset of each array of texts or lists, which `pyarrow.Array.nbytes` does not count."""


def of_arrow(thing: Any) -> Blocks:
    """Return the whole buffers of an array that is not a slice."""
    return [(buffer.address, buffer.address + buffer.size) for buffer in thing.buffers() if buffer]


def size(blocks: Blocks) -> int:
    return sum(end - start for start, end in blocks)


def pages(blocks: Blocks) -> set[int]:
    return {page for start, end in blocks for page in range(start & -PAGE, end, PAGE)}


def content(blocks: Blocks) -> list[bytes]:
    return [ctypes.string_at(start, end - start) for start, end in blocks]


@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "nothing"])
def test_a_whole_array_is_all_of_its_buffers(name: str) -> None:
    assert size(memory(ARRAYS[name])) == ARRAYS[name].get_total_buffer_size()


@pytest.mark.parametrize(
    "name", [name for name in ARRAYS if name not in {"nothing", "structure", "views", "list views"}]
)
@pytest.mark.parametrize(("first", "count"), [(100, 20), (350, 9), (7, 1), (0, 3), (990, 10)])
def test_a_slice_has_a_part_of_each_buffer(name: str, first: int, count: int) -> None:
    whole, cut = memory(ARRAYS[name]), ARRAYS[name].slice(first, count)
    found = memory(cut)
    assert size(found) == cut.nbytes + UNCOUNTED.get(name, 0)
    for start, end in found:
        assert any(first <= start and end <= last for first, last in whole)
    again = ARRAYS[name].slice(first // 2).slice(first - first // 2, count)  # a slice of a slice
    assert memory(again) == found


def test_of_a_structure_also_what_says_where_its_holes_are() -> None:
    cut = ARRAYS["structure"].slice(100, 20)
    holes = 3  # bytes: bits 100 to 119
    text = sum(len(row["b"]) for row in cut.to_pylist() if row)
    assert [end - start for start, end in memory(cut)] == [holes, 20 * 8, 21 * 4, text]


@pytest.mark.skipif("views" not in ARRAYS, reason="needs pyarrow 16, which has views")
def test_of_views_the_texts_that_are_looked_at() -> None:
    cut = ARRAYS["views"].slice(100, 20)
    longer = [text for text in cut.to_pylist() if text and len(text) > 12]
    _, views, *texts = memory(cut)
    assert views[1] - views[0] == 20 * 16
    assert b"".join(content(texts)).startswith(longer[0].encode())
    assert b"".join(content(texts)).endswith(longer[-1].encode())
    whole = ARRAYS["list views"].slice(100, 20)
    assert [end - start for start, end in memory(whole)] == [80, 80, 160]


def test_the_content_of_a_slice_is_there() -> None:
    cut = pa.array([f"<{at}>" for at in range(N)]).slice(500, 3)
    offsets, text = content(memory(cut))
    assert text == b"<500><501><502>"
    assert np.diff(np.frombuffer(offsets, np.int32)).tolist() == [5, 5, 5]
    _, numbers = content(memory(ARRAYS["numbers"].slice(504, 2)))
    assert np.frombuffer(numbers, np.int64).tolist() == [504, 505]


def test_a_value_of_a_million_is_a_page() -> None:
    assert len(pages(memory(pa.array(range(1 << 20)).slice(513, 1)))) == 1
    words = pd.Series([f"word {at}" for at in range(100_000)], dtype=pd.ArrowDtype(pa.string()))
    assert len(pages(memory(words.array[5:10]))) == 2


def test_an_extension_is_its_storage() -> None:
    kind = pa.fixed_shape_tensor(pa.int32(), [2, 3])
    array = pa.ExtensionArray.from_storage(kind, pa.array([[1] * 6] * N, pa.list_(pa.int32(), 6)))
    assert size(memory(array)) == array.get_total_buffer_size() == N * 24
    assert size(memory(array.slice(5, 2))) == 48


def test_arrow_goes_down_to_the_buffers() -> None:
    column, words = pa.array([1, None, 3]), pa.array(["a", "bc", "def"])
    chunked = pa.chunked_array([column, column.slice(0)])
    table = pa.table({"numbers": column, "words": words})
    numbers, text = column.buffers(), words.buffers()
    used = [(numbers[0].address, numbers[0].address + 1), (numbers[1].address, numbers[1].address + 24)]
    both = [*used, (text[1].address, text[1].address + 16), (text[2].address, text[2].address + 6)]
    assert memory(column) == used
    assert memory(chunked) == used * 2
    assert memory(table) == memory(table.to_batches()[0]) == both


def test_a_dictionary_is_one_of_its_parts() -> None:
    words = pa.array([f"word {at}" for at in range(N)] * 3).dictionary_encode()
    assert size(memory(words)) == words.get_total_buffer_size()
    assert size(memory(pa.table({"a": words, "b": words}))) == 2 * words.get_total_buffer_size()
    cut = words.slice(5, 1)
    assert set(of_arrow(words.dictionary)) <= set(memory(cut))


def test_a_look_leaves_no_children_in_the_array() -> None:
    words = pa.array(["a", "b"]).dictionary_encode()
    before = gc.get_referents(words)
    memory(words)
    assert gc.get_referents(words) == before
    assert words.dictionary is not None
    assert gc.get_referents(words) != before  # as pyarrow keeps them


@pytest.mark.parametrize(
    "kind",
    [
        "int64[pyarrow]",
        "str",
        pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
        pd.ArrowDtype(pa.list_(pa.int64())),
    ],
    ids=str,
)
def test_pandas_columns(kind: Any) -> None:
    values = {"int64[pyarrow]": [1, 2, None]}.get(str(kind), [[1], [2, 3]] if "list" in str(kind) else ["a", "b", "a"])
    column = pd.Series(values, dtype=kind)
    held = pa.array(column.array)
    assert size(memory(column)) == memory_size(held)
    if not isinstance(held, pa.DictionaryArray):
        assert {start for start, _ in memory(column)} == {start for start, _ in of_arrow(held)}


def memory_size(array: Any) -> int:
    """Return how much of its buffers a small array uses: pyarrow's number, and the last offset."""
    offsets = {pa.string(): 4, pa.large_string(): 8, pa.list_(pa.int64()): 4}
    if isinstance(array, pa.DictionaryArray):
        return int(array.nbytes) + offsets[array.type.value_type]
    return int(array.nbytes) + offsets.get(array.type, 0)


def test_a_value_alone_is_where_arrow_keeps_it() -> None:
    texts, lists = pa.array(["a", "bcd"]), pa.array([[1], [2, 3]])
    text = texts[1]  # of which Arrow made a copy
    assert memory(text) == [(text.as_buffer().address, text.as_buffer().address + 3)]
    assert memory(lists[1]) == [(lists.buffers()[3].address + 8, lists.buffers()[3].address + 24)]
    assert find(pa.scalar(5)).is_itself
    with pytest.raises(TargetError, match="holds 0 bytes"):
        memory(pa.scalar(None, pa.string()))


def test_a_buffer() -> None:
    text = b"x" * 5000
    at = ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0
    assert memory(pa.py_buffer(text)) == [(at, at + 5000)]


def test_nothing_has_no_memory() -> None:
    for array in (
        pa.array([], pa.int64()),
        pa.array([1, 2, None]).slice(1, 0),
        ARRAYS["words"].slice(3, 0),
        pa.nulls(5),
    ):
        with pytest.raises(TargetError, match="holds 0 bytes"):
            memory(array)


def batches() -> Iterator[pa.RecordBatch]:
    for _ in range(3):
        yield pa.record_batch({"a": np.arange(10_000)})


def test_a_reader_is_not_read() -> None:
    reader = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), batches())
    found = find(reader)
    assert found.is_itself
    assert found.note.startswith("the RecordBatchReader object itself, ")
    assert "perhaps only once" in found.note
    assert reader.read_all().num_rows == 30_000


class Exports:
    """An array that is seen only through Arrow's protocol; made anew, if there is none."""

    def __init__(self, array: Any = None) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        array = pa.array(np.arange(1000) + 1) if self._array is None else self._array
        return array.__arrow_c_array__(requested_schema)


def test_an_array_is_exported_twice() -> None:
    assert memory(Exports(ARRAYS["words"])) == memory(ARRAYS["words"])
    with pytest.raises(TargetError, match="the Exports makes new data at each access"):
        memory(Exports())


def test_a_relation_of_duckdb_is_not_computed() -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb; type `pip install 'pte-magic[hosts]'`")
    with duckdb.connect() as connection:
        relation = connection.sql("select range as a from range(30000)")
        other = connection.sql("select range as a from range(30000)")
        # duckdb 1.4 calls it by another name, which is deprecated since.
        reader = getattr(
            other, "to_arrow_reader" if hasattr(type(other), "to_arrow_reader") else "fetch_record_batch"
        )()
        assert find(relation).is_itself
        assert find(reader).is_itself
        assert reader.read_all().num_rows == 30_000
        assert len(relation.fetchall()) == 30_000
