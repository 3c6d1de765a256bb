"""Frames as pandas users have them: every method of whatever pandas makes of one is right, or says why it is not."""

from __future__ import annotations

import io
import operator
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from differences import MIB2, START, huge, made, page, swap
from handmade import NOHUGEPAGE, write

import pte_magic
from pte_magic import PteFrame, PteMagicError
from pte_magic.api.machine.processes import Processes
from pte_magic.api.pte_diff import PteDiff
from pte_magic.errors import TargetError
from pte_magic.linux import hardware

if TYPE_CHECKING:
    from collections.abc import Callable

    from handmade import NewMap

FRAME = made(
    (START, "pte", [page(5), page(6), page(7), page(9, 0x25), 0, 0, swap(3), swap(4), swap(9)]),
    (START + MIB2, "pmd", [huge(512), huge(1024)]),
)
AFTER = made(
    (START, "pte", [page(5), page(6, 0x65), page(8), page(9, 0x25), page(11), 0, swap(3), page(4), swap(9)]),
    (START + MIB2, "pmd", [huge(512), huge(1024)]),
)
TABLE = Processes(
    {"pid": [4711, 12], "name": ["a", "b"], "user": ["root", "root"], "resident": [3 << 20, 1 << 20],
     "resident_4k": [1 << 20, 1 << 20], "resident_2m": [2 << 20, 0], "huge_share": [2 / 3, 0], "swapped": [0, 0],
     "page_tables": [4096, 4096], "pss": [1 << 20, 1 << 20], "uss": [1 << 20, 0]}
).astype(
    {"resident": "UInt64", "resident_4k": "UInt64", "resident_2m": "UInt64", "huge_share": "Float64",
     "swapped": "UInt64", "page_tables": "UInt64", "pss": "UInt64", "uss": "UInt64"}
).assign(host=pd.Categorical([hardware.host()] * 2), walker=pd.Categorical(["bpf"] * 2))  # fmt: skip


def with_time(table: Any) -> Any:
    table = table.copy()
    table.insert(0, "time", pd.Timestamp(0, tz="UTC"))
    return table


def unfit(table: Any, kind: type) -> Any:
    """Return the table with other dtypes in all numbers, given to it in place: pandas asks nobody then."""
    table = table.copy()
    for name in table.select_dtypes("number").columns:
        table[name] = table[name].astype(object if kind is object else str if kind is str else "Float64")
    return table


def twice(table: Any) -> Any:
    table = table.copy()
    table.columns = [table.columns[0], *table.columns[:1], *table.columns[2:]]
    return table


def unused(table: Any) -> Any:
    table = table.copy()
    for name in table.select_dtypes("category").columns:
        table[name] = table[name].cat.remove_unused_categories()
    return table


DERIVED: dict[str, Callable[[Any], Any]] = {
    "itself": lambda table: table,
    "empty": lambda table: table.iloc[:0],
    "one row": lambda table: table.iloc[1:2],
    "the other way round": lambda table: table.iloc[::-1],
    "twice": lambda table: pd.concat([table, table]),
    "rows twice": lambda table: table.iloc[[0, 0, 1]],
    "named index": lambda table: table.set_axis([f"r{i}" for i in range(len(table))]),
    "same index": lambda table: table.set_axis([0] * len(table)),
    "index of floats": lambda table: table.set_axis(np.arange(len(table)) / 2),
    "keys": lambda table: pd.concat({"one": table}, names=["what"]),
    "a column as index": lambda table: table.set_index(table.columns[0]),
    "reset index": lambda table: table.reset_index(),
    "runs": lambda table: table.runs() if hasattr(table, "runs") else table,
    "more columns": lambda table: table.assign(note="x", when=pd.Timestamp(0), share=0.5),
    "lists": lambda table: table.assign(note=[[1]] * len(table)),
    "time first": with_time,
    **{
        f"without {name}": operator.methodcaller("drop", columns=name, errors="ignore")
        for name in (
            "vaddr", "size", "level", "entry", "state", "kind", "pfn", "swap_offset", "host", "pid", "walker", "format",
            "before", "after", "flipped", "change", "state_before", "level_after", "format_before", "name", "resident",
        )
    },
    "few columns": lambda table: table[list(table.columns[:2])],
    "last column": lambda table: table[list(table.columns[-1:])],
    "floats": lambda table: unfit(table, float),
    "objects": lambda table: unfit(table, object),
    "text": lambda table: unfit(table, str),
    "columns twice": twice,
    "missing": lambda table: table.reindex([0, 1, 99]),
    "other categories": unused,
}  # fmt: skip


METHODS: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    **{
        name: operator.methodcaller(name)
        for name in ("_repr_html_", "to_string", "to_html", "runs", "summary", "frames", "bits", "map", "translation")
    },
    "last bits": lambda table: table.bits(-1),
    "map rw": lambda table: table.map("rw"),
    "map color": lambda table: table.map(color="size"),
    "contiguity": lambda table: table.map(color="contiguity"),
    "diff": lambda table: table.diff(AFTER),
    "diff of": FRAME.diff,
    "diff of a DataFrame": lambda table: FRAME.diff(pd.DataFrame(table)),
}
SHOWS = {"repr", "_repr_html_", "to_string", "to_html"}
LINE = 400  # characters
PLAIN = {"last column", "missing"}
"""What has not the columns any more, or not their dtypes, is pandas' own."""
OF_A_DIFFERENCE = [*SHOWS, "runs", "summary"]


def right_or_one_line(method: str, table: Any) -> None:
    try:
        METHODS[method](table)
    except PteMagicError as error:
        said = str(error)
    else:
        return
    assert method not in SHOWS
    assert len(said.splitlines()) == 1
    assert len(said) < LINE


@pytest.mark.parametrize("derived", DERIVED)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_right_or_says_why_in_one_line(method: str, derived: str) -> None:
    table = DERIVED[derived](FRAME)
    assert isinstance(table, PteFrame) == (derived not in PLAIN)
    if derived not in PLAIN or "of" in method.split():
        right_or_one_line(method, table)


@pytest.mark.parametrize("derived", DERIVED)
@pytest.mark.parametrize("method", OF_A_DIFFERENCE)
def test_a_method_of_a_difference_is_right_or_says_why(method: str, derived: str) -> None:
    table = DERIVED[derived](FRAME.diff(AFTER))
    assert isinstance(table, PteDiff) == (derived not in PLAIN)
    if derived not in PLAIN:
        right_or_one_line(method, table)


def not_here(*_: Any) -> Any:
    """Be what asks the kernel for all page frames."""
    message = "of all page frames"
    raise TargetError(message)


@pytest.mark.parametrize("derived", DERIVED)
@pytest.mark.parametrize("method", [*SHOWS, "map", "map rw"])
def test_a_method_of_a_table_of_processes_is_right_or_says_why(
    method: str, derived: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pte_magic.api.machine.processes.owners", not_here)
    table = DERIVED[derived](TABLE)
    is_plain = derived in {*PLAIN, "few columns"}
    assert isinstance(table, Processes) is not is_plain
    if not is_plain:
        right_or_one_line(method, table)


@pytest.mark.parametrize(
    "derived",
    ["itself", "the other way round", "twice", "rows twice", "named index", "same index", "index of floats", "keys",
     "more columns", "lists", "time first", "other categories"],
)  # fmt: skip
def test_counts_are_those_of_a_plain_loop(derived: str) -> None:
    table = DERIVED[derived](FRAME)
    plain = [(row["state"], row["size"]) for row in pd.DataFrame(table).to_dict("records")]
    entries: dict[Any, int] = {}
    for state, size in plain:
        key = (state, 0 if state == "none" else size)
        entries[key] = entries.get(key, 0) + 1
    for found in (table, table.runs(), table.runs().runs()):
        assert found.summary()["entries"].to_dict() == entries
        assert found.summary()["bytes"].sum() == sum(size for _, size in plain)
        assert found["size"].tolist()[0] == plain[0][1]


def test_runs_of_runs_are_the_same_runs() -> None:
    runs = FRAME.runs()
    assert runs["entries"].tolist() == [3, 1, 2, 2, 1, 2]
    pd.testing.assert_frame_equal(runs.runs(), runs)
    halves = pd.concat([FRAME.iloc[:2].runs(), FRAME.iloc[2:].runs()])
    pd.testing.assert_frame_equal(halves.runs(), runs)
    difference = FRAME.diff(FRAME.assign(entry=FRAME["entry"].to_numpy(np.uint64) | np.uint64(1 << 9)))
    pd.testing.assert_frame_equal(difference.runs().runs(), difference.runs())


def test_runs_of_which_a_column_was_dropped_still_count_entries() -> None:
    for name in ("entries", "bytes"):
        found = FRAME.runs().drop(columns=name)
        assert found.summary().equals(FRAME.summary())
        for refused in (found.map, lambda found=found: found.diff(FRAME), found.frames):
            with pytest.raises(PteMagicError, match="run"):
                refused()


KEY, FIRST, SIZE = "", "", ""  # of each kind of frame, the names of columns that stand for these
NOT_ENTRIES: dict[str, Callable[[Any], Any]] = {
    "count": lambda table: table.groupby(KEY).count(),
    "nunique": lambda table: table.groupby(KEY).nunique(),
    "size": lambda table: table.groupby(KEY).size().to_frame(SIZE),
    "sums": lambda table: table.groupby(KEY, observed=True)[[SIZE]].sum(),
    "sums of two": lambda table: table.groupby(KEY, observed=True)[[FIRST, SIZE]].max(),
    "not as index": lambda table: table.groupby(KEY, as_index=False, observed=True)[[FIRST, SIZE]].max(),
    "first": lambda table: table.groupby(KEY).first(),
    "agg": lambda table: table.groupby(KEY).agg({FIRST: "count", SIZE: "sum"}),
    "named agg": lambda table: table.groupby(KEY).agg(**{FIRST: (FIRST, "count"), SIZE: (SIZE, "max")}),
    "list": lambda table: table[[FIRST, SIZE]].agg(["min", "max"]),
    "transform": lambda table: table.groupby(KEY)[[FIRST, SIZE]].transform("count"),
    "describe": lambda table: table[[FIRST, SIZE]].describe(),
    "pivot_table": lambda table: table.pivot_table(index=KEY, values=FIRST, aggfunc="count"),
    "pivot": lambda table: table[[FIRST, SIZE]].assign(c="c").pivot(index=FIRST, columns="c", values=SIZE),  # noqa: PD010  (is tried, too)
    "value_counts": lambda table: table[FIRST].value_counts().rename(SIZE).reset_index(),
    "crosstab": lambda table: pd.crosstab(table[KEY], table[SIZE]),
    "isna": lambda table: table.isna(),
    "compared": lambda table: table[[FIRST, SIZE]].eq(1),
    "floats": lambda table: table.astype({FIRST: float, SIZE: float}),
    "text": lambda table: table.astype({FIRST: str}),
    "objects": lambda table: table.astype({FIRST: object}),
    "T": lambda table: table.T,
    "T of one dtype": lambda table: table[[FIRST, SIZE]].T,
    "diff": lambda table: table[[FIRST, SIZE]].astype("float").diff(),
    "columns twice": lambda table: pd.concat([table, table], axis=1),
    "shift": lambda table: table.astype({FIRST: "int64"}).shift(1),
    "rolling": lambda table: table[[FIRST, SIZE]].rolling(2).sum(),
    "no columns": lambda table: table[[]],
    "names of others": lambda table: table.rename(columns={KEY: FIRST, FIRST: KEY}).astype({FIRST: str}),
}


@pytest.mark.parametrize("way", NOT_ENTRIES)
@pytest.mark.parametrize("kind", ["entries", "differences", "processes"])
def test_what_is_no_longer_such_a_frame_is_a_plain_one(kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = {"entries": (FRAME, "pid", "vaddr", "size"), "differences": (FRAME.diff(AFTER), "change", "vaddr", "size"),
          "processes": (TABLE, "user", "pid", "resident")}  # fmt: skip
    table, *names = of[kind]
    for name, value in zip(("KEY", "FIRST", "SIZE"), names, strict=True):
        monkeypatch.setitem(globals(), name, value)
    found, plain = NOT_ENTRIES[way](table), NOT_ENTRIES[way](pd.DataFrame(table))
    assert type(found) is pd.DataFrame
    assert repr(found) == repr(plain)


def test_counts_are_not_shown_as_addresses() -> None:
    many = pd.concat([FRAME] * 301)
    assert "0x00000000012d" not in repr(many.groupby("vaddr").count())
    counts = many.groupby("size").agg(vaddr=("vaddr", "nunique"), entry=("entry", "count"))
    assert repr(counts) == repr(pd.DataFrame(counts))
    assert " B" not in repr(TABLE.groupby("user").count())
    put = many.iloc[:3].copy()
    put["vaddr"] = [301, 302, 303]  # by whoever puts it there himself
    assert "0x00000000012d" not in repr(put)
    assert "301" in repr(put)


def test_frames_of_groups_are_frames() -> None:
    both: Any = pd.concat([FRAME, FRAME.assign(pid=2)], ignore_index=True)
    assert {type(rows) for _, rows in both.groupby("pid")} == {PteFrame}
    found = both.groupby("pid").apply(lambda rows: rows.runs(), include_groups=False)
    assert type(found) is PteFrame
    assert found["entries"].tolist() == FRAME.runs()["entries"].tolist() * 2
    assert {type(rows) for _, rows in TABLE.groupby("user")} == {Processes}


def as_file(table: pd.DataFrame, **dtypes: Any) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(pd.DataFrame(table).to_csv(index=False)), dtype=dtypes or None)


def by_parquet(table: pd.DataFrame, **options: Any) -> pd.DataFrame:
    pytest.importorskip("pyarrow")
    file = io.BytesIO()
    table.to_parquet(file)
    return pd.read_parquet(file, **options)


@pytest.mark.parametrize("backend", [None, "pyarrow", "numpy_nullable"])
def test_what_came_back_from_parquet_is_compared_and_drawn(backend: str | None) -> None:
    back = by_parquet(AFTER, **({"dtype_backend": backend} if backend else {}))
    assert type(back) is pd.DataFrame
    pd.testing.assert_frame_equal(FRAME.diff(back), FRAME.diff(AFTER))
    assert PteFrame(back).map("rw").text() == AFTER.map(color="rw").text()
    pd.testing.assert_frame_equal(
        PteFrame(back).drop(columns=["host", "walker", "format"]), AFTER.drop(columns=["host", "walker", "format"])
    )


def test_what_came_back_from_csv_is_what_it_was_or_says_what_was_lost() -> None:
    whole = as_file(AFTER, entry="UInt64")
    pd.testing.assert_frame_equal(FRAME.diff(whole), FRAME.diff(AFTER))
    assert PteFrame(whole).runs()["entries"].tolist() == AFTER.runs()["entries"].tolist()
    lost = as_file(AFTER.assign(entry=AFTER["entry"].where(AFTER.index != 0)), entry=float)
    assert lost["entry"].dtype == float
    for call in (lambda: FRAME.diff(lost), lambda: PteFrame(lost).bits(1)):
        with pytest.raises(PteMagicError, match=r"the column 'entry' .* float64, and .* UInt64; give it that dtype"):
            call()
    assert repr(PteFrame(lost))


def test_a_difference_comes_back_as_it_was() -> None:
    found = FRAME.diff(AFTER)
    again = PteDiff(by_parquet(found))
    assert repr(again) == repr(found)
    assert again.summary().equals(found.summary())


def test_processes_come_back_as_they_were() -> None:
    back = as_file(TABLE)
    assert back["uss"].dtype == "int64"
    for again in (Processes(back), Processes(by_parquet(TABLE)), Processes(as_file(TABLE, resident_4k=object))):
        assert again.dtypes.astype(str).to_dict() == TABLE.dtypes.astype(str).to_dict()
        assert repr(again) == repr(TABLE)
    lost = Processes(as_file(TABLE.assign(huge_share="most")))
    assert lost["huge_share"].tolist() == ["most"] * 2


def test_a_colour_may_be_named_first() -> None:
    assert FRAME.map("rw").text() == FRAME.map(color="rw").text()
    with pytest.raises(PteMagicError, match="cannot colour by 'wr'"):
        FRAME.map("wr")
    assert FRAME[["size"]].map(str)["size"].tolist() == [str(size) for size in FRAME["size"]]


@pytest.mark.parametrize("call", ["to_string", "to_html"])
def test_formatters_that_somebody_gives_are_merged_with_ours(call: str) -> None:
    def text(**options: Any) -> str:
        return str(getattr(FRAME.iloc[:2], call)(**options))

    for given in ({"size": "<{}>".format}, {"nothing": str}):
        assert f"{page(5):#018x}" in text(formatters=given)
        assert f"{START:#014x}" in text(formatters=given)
    found = text(formatters={"size": lambda value: f"[{value}]"})
    assert "[4096]" in found
    assert "4 KiB" not in found.replace("&nbsp;", " ").split("[4096]")[0]
    columns = ["entry", "size", "state"]
    found = text(columns=columns, formatters=[None, lambda value: f"[{value}]", None])
    assert "[4096]" in found
    assert f"{page(5):#018x}" in found
    found = text(columns=["size", "entry"], formatters={"size": lambda value: f"[{value}]"}, index=False)
    assert "[4096]" in found
    assert f"{page(5):#018x}" in found
    with pytest.raises(ValueError, match="length"):
        text(formatters=[str])


def test_styles_print_hex() -> None:
    pytest.importorskip("jinja2")
    html = FRAME.style.hide(axis="index").to_html()
    assert f"{page(5):#018x}" in html
    assert "2 MiB" in html
    assert "4 KiB" in FRAME.diff(AFTER).style.to_html()
    assert "3 MiB" in TABLE.style.to_html()


def test_a_value_of_another_dtype_is_shown_as_pandas_shows_it() -> None:
    text = FRAME.iloc[:2].assign(share=1 / 3, when=pd.Timestamp("2026-11-30")).to_string()
    assert "0.333333" in text
    with pd.option_context("display.precision", 2):
        assert "0.33 " in repr(FRAME.iloc[:2].assign(share=1 / 3, z=1))


def test_a_watch_gives_runs_of_each_look(new_map: NewMap) -> None:
    address = new_map(16 * hardware.PAGE_SIZE, advice=NOHUGEPAGE)
    with pte_magic.watch(address, address + 16 * hardware.PAGE_SIZE, every=1000) as watch:
        write(address, 8 * hardware.PAGE_SIZE)
    found = watch.frame()
    looks = found["time"].nunique()
    assert looks == 2
    runs = found.runs()
    assert list(runs.columns[:5]) == ["time", "vaddr", "size", "entries", "bytes"]
    assert type(runs) is PteFrame
    assert runs.groupby("time")["entries"].sum().tolist() == found.groupby("time").size().tolist()
    assert runs.summary().equals(found.summary())
    assert re.search("0x[0-9a-f]{12}", repr(runs))
