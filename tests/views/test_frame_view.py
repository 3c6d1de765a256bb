"""How frames are shown: hex, units, missing values, notes, no more lines than asked for."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade import NOHUGEPAGE, NewMap, write
from handmade import PAGE as BYTES
from ipywidgets.widgets import widget

import pte_magic
from pte_magic import PteFrame, PteMagicError
from pte_magic.api import pte_frame
from pte_magic.errors import TargetError
from pte_magic.formats import kernel
from pte_magic.linux.geometry import LEVELS
from pte_magic.text import units
from pte_magic.text.units import counted
from pte_magic.walkers.entries import SPAN, Entries

PAGE, GUARD, SWAPPED = 0x8000000153016067, 0xFFFFFFFFFFFFF600, 0x07FFFFFFFFFFFC00


def made(raw: list[int], size: int = 4096) -> pte_frame.PteFrame:
    spans = np.array([(0x7F00_0000_0000, size, len(raw), LEVELS.index("pte" if size == 4096 else "pmd"))], SPAN)
    return pte_frame.build(Entries(np.array(raw, np.uint64), spans, "x86_64", "bpf"), kernel.running(), pid=4711)


MIXED = made([PAGE, 0, SWAPPED, GUARD])


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (4096, "4 KiB"), (2 << 20, "2 MiB"), (3 << 29, "1.5 GiB"), (1 << 47, "128 TiB"),
     (1 << 56, "64 PiB"), ((1 << 64) - 1, "16 EiB")],
)  # fmt: skip
def test_sizes_have_units(count: int, text: str) -> None:
    assert units.size(count) == text


def test_text_shows_hex_units_bits_by_name_and_dashes() -> None:
    assert [" ".join(line.split()) for line in repr(MIXED).splitlines()[3:7]] == [
        "0 0x7f0000000000 4 KiB pte 0x8000000153016067 present - 0x153016 - - present rw user accessed dirty nx",
        "1 0x7f0000001000 4 KiB pte 0x0000000000000000 none - - - - -",
        "2 0x7f0000002000 4 KiB pte 0x07fffffffffffc00 swap - - 0 0x1 -",
        "3 0x7f0000003000 4 KiB pte 0xfffffffffffff600 marker guard - 31 0x4 -",
    ]


def test_notes_say_what_is_the_same_throughout() -> None:
    assert "pid 4711" in repr(MIXED).splitlines()[-1]
    assert "walker bpf" in repr(MIXED).splitlines()[-1]
    assert "cache WB" in repr(MIXED).splitlines()[-1]


def test_notes_count_columns_that_are_missing_throughout() -> None:
    table = made([PAGE])
    missing = int(table.isna().all().sum())
    assert f"[1 row x 31 columns; {missing} empty columns hidden; cache WB, " in repr(table)
    assert f"[1 row x 31 columns; {missing} empty columns hidden; cache WB, " in str(table._repr_html_())


def html_of(table: pte_frame.PteFrame) -> str:
    """Return the HTML up to the table of all columns, which opens by a click."""
    return str(table._repr_html_()).partition("<details>")[0]


@pytest.mark.parametrize("shown", [repr, PteFrame._repr_html_], ids=["text", "html"])
@pytest.mark.parametrize("rows", [61, 1000])
def test_a_long_frame_is_cut(shown: object, rows: int) -> None:
    assert callable(shown)
    table = made([PAGE ^ row % 2 << 6 for row in range(rows)])  # no row is like its neighbour
    text = str(shown(table))
    addresses = [int(found, 16) for found in re.findall("0x7f[0-9a-f]{10}", text.partition("<details>")[0])]
    expected = table["vaddr"].tolist()
    assert addresses == expected[:5] + expected[-5:]  # display.min_rows is 10
    assert "..." in text
    assert f"[{rows} rows x 31 columns" in text


@pytest.mark.parametrize(
    ("maximum", "minimum", "lines"), [(8, 4, 4), (8, 20, 8), (8, None, 8), (None, 4, 30), (30, 4, 30)]
)
@pytest.mark.parametrize("kind", ["text", "html"])
def test_limits_of_pandas_hold(maximum: int | None, minimum: int | None, lines: int, kind: str) -> None:
    table = made([PAGE ^ row % 2 << 6 for row in range(30)])
    with pd.option_context("display.max_rows", maximum, "display.min_rows", minimum):
        text = repr(table) if kind == "text" else html_of(table)
    assert len(re.findall("0x7f[0-9a-f]{10}", text)) == lines


def test_pandas_may_turn_html_off() -> None:
    with pd.option_context("display.notebook_repr_html", False):  # noqa: FBT003  (pandas' own)
        assert MIXED._repr_html_() is None


def test_html_shows_hex_and_no_missing_values_of_pandas() -> None:
    html = str(MIXED._repr_html_())
    assert "<td>0x8000000153016067</td>" in html
    assert "<td>2\N{NO-BREAK SPACE}MiB</td>" in str(made([PAGE | 1 << 7], 2 << 20)._repr_html_())
    assert "NA" not in html
    assert "NaN" not in html


def test_html_escapes_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pte_magic.linux.hardware.host", lambda: "<b>&")
    html = str(made([PAGE])._repr_html_())
    assert "host &lt;b&gt;&amp;" in html
    assert "<b>" not in html


@pytest.mark.parametrize("call", ["to_string", "to_html"])
def test_pandas_own_methods_print_hex_too(call: str) -> None:
    text = str(getattr(MIXED, call)())
    for word in ("0x7f0000000000", "4 KiB", "0x8000000153016067", "0x153016"):
        assert word in text
    assert "0x8000000153016067" not in str(getattr(MIXED, call)(formatters={"entry": str}))
    assert str(PAGE) in str(getattr(MIXED, call)(formatters={"entry": str}))


def test_pandas_own_methods_take_their_own_options() -> None:
    assert MIXED.to_string(columns=["entry"], index=False, header=False).splitlines()[0] == f"{PAGE:#x}"


@pytest.mark.parametrize("columns", [["vaddr"], ["entry", "rw"], ["rw"], ["state", "level"]])
def test_a_frame_of_some_columns_is_shown(columns: list[str]) -> None:
    part = MIXED[columns]
    shape = f"[4 rows x {len(columns)} column{'s' * (len(columns) > 1)}"
    assert shape in repr(part)
    assert shape in str(part._repr_html_())


@pytest.mark.parametrize(
    "table",
    [
        made([]),
        MIXED.iloc[:0],
        MIXED.runs(),
        MIXED.runs().iloc[:0],
        pd.concat([MIXED, MIXED]),
        MIXED.rename(columns={"vaddr": 0}),
        MIXED.assign(note="<x>"),
        pte_magic.decode([]),
    ],
    ids=[
        "empty",
        "no rows",
        "runs",
        "no runs",
        "same index twice",
        "renamed",
        "more",
        "none",
    ],
)
def test_whatever_pandas_makes_of_a_frame_is_shown(table: pte_frame.PteFrame) -> None:
    assert f"{len(table)} rows x {len(table.columns)} columns" in repr(table)
    assert f"{len(table)} rows x {len(table.columns)} columns" in str(table._repr_html_())


def test_bytes_of_runs_have_units() -> None:
    table = made([PAGE + (i << 12) for i in range(512)])
    first = " ".join(repr(table.runs()).splitlines()[1].split())
    assert first.startswith("0 0x7f0000000000 4 KiB 512 2 MiB pte 0x8000000153016067")


def spans(*found: tuple[int, int, str, list[int]]) -> pte_frame.PteFrame:
    """Return a frame of spans: first address, bytes that each entry covers, level, entries."""
    rows = [(vaddr, size, len(raw), LEVELS.index(level)) for vaddr, size, level, raw in found]
    raw = np.array([entry for *_, part in found for entry in part], np.uint64)
    return pte_frame.build(Entries(raw, np.array(rows, SPAN), "x86_64", "bpf"), kernel.running(), pid=4711)


TABLE, X = 0x153016067, "\N{MULTIPLICATION SIGN}"
WIDE = spans(
    (0x7F00_0000_0000, 2 << 20, "pmd", [0x80000001530000E7, 0x80000001550000E7, 0]),
    (0x7F00_0060_0000, 4096, "pte", [PAGE, 0, PAGE, SWAPPED]),
    (0x7F00_0060_4000, 1 << 30, "pud", [0]),
)
ADDRESS = spans(
    (0x7F00_0000_0000, 1 << 39, "pgd", [TABLE]),
    (0x7F00_0000_0000, 1 << 30, "pud", [TABLE]),
    (0x7F00_0060_0000, 2 << 20, "pmd", [TABLE]),
    (0x7F00_0060_1000, 4096, "pte", [PAGE]),
)


@pytest.mark.parametrize("table", [WIDE, WIDE.runs(), WIDE[::-1], WIDE.drop(columns=["pfn", "entry"])])
def test_the_second_line_of_a_range_counts_what_is_there(table: pte_frame.PteFrame) -> None:
    line = f"8 entries, 1.006 GiB: present 4 KiB {X} 2; present 2 MiB {X} 2; swap 4 KiB {X} 1; none {X} 3"
    assert repr(table).splitlines()[1] == line
    assert f"<p>{line}</p><div tabindex=" in str(table._repr_html_())


def test_the_second_line_counts_tables_apart_and_thousands_are_set_off() -> None:
    table = spans((0, 2 << 20, "pmd", [TABLE]), (0, 4096, "pte", [PAGE] * 2049))
    line = f"2,049 entries, 8.004 MiB: present 4 KiB {X} 2,049; table {X} 1"
    assert repr(table).splitlines()[1] == line


@pytest.mark.parametrize("table", [ADDRESS, ADDRESS[3:], made([0]), made([]), pte_magic.decode([PAGE, 0])])
def test_the_way_to_one_address_and_mere_values_have_no_such_line(table: pte_frame.PteFrame) -> None:
    assert " entries, " not in repr(table)
    assert not str(table._repr_html_()).startswith("<p>")


HUGE = spans(
    (0x7F00_0000_0000, 1 << 39, "pgd", [TABLE]),
    (0x7F00_0000_0000, 1 << 30, "pud", [TABLE]),
    (0x7F00_0060_0000, 2 << 20, "pmd", [0x80000001530000E7]),
)
NOWHERE = spans((0x7F00_0000_0000, 1 << 39, "pgd", [TABLE]), (0x7F00_0000_0000, 1 << 30, "pud", [0]))


@pytest.mark.parametrize(
    ("table", "levels", "says", "field"),
    [
        (ADDRESS, ["pgd", "pud", "pmd", "pte"], f"pte entry {PAGE:#018x}: present, maps 4 KiB", "51:12 pfn 0x153016"),
        (HUGE, ["pgd", "pud", "pmd"], "pmd entry 0x80000001530000e7: present, maps 2 MiB", "7 pse 1"),
        (NOWHERE, ["pgd", "pud"], "pud entry 0x0000000000000000: none, empty, nothing is mapped in", "0 present 0"),
    ],
    ids=["4 KiB", "2 MiB", "nothing"],
)
def test_the_way_to_one_address_is_shown_with_the_bits_of_its_leaf(
    table: pte_frame.PteFrame, levels: list[str], says: str, field: str
) -> None:
    lines = [" ".join(line.split()) for line in repr(table).splitlines()]
    assert [line.split()[4] for line in lines[1 : 1 + len(levels)]] == levels  # after number, address, size and unit
    below = lines[lines.index("") + 1 :]
    assert below[0].startswith(says)
    assert any(line.startswith(field) for line in below)
    html = str(table._repr_html_())
    shown, _, picture = html.partition('<div class="pte-magic">')
    assert re.findall("<td>(p..)</td>", shown.partition("<details>")[0]) == levels
    assert f'<p class="pte-says">{says}' in picture
    assert picture.count('<tr class="pte-bit">') == 4
    bits, name, value = field.split()
    row = next(row for row in re.findall("<tr>.*?</tr>", picture.partition("pte-fields")[2]) if f"<code>{name}<" in row)
    assert re.sub("<[^>]+>", " ", row).split()[:2] == [bits, name]
    assert f'<span class="pte-mono">{value}</span>' in row
    assert "<button" not in html


def test_the_bits_of_a_leaf_are_in_the_place_of_a_live_picture_of_them() -> None:
    def shown(name: str) -> Any:
        return widget._instances[name]

    frame = ADDRESS.copy()
    places = [re.findall("pte-magic-place pte-magic-([0-9a-f]{32})", str(frame._repr_html_())) for _ in range(2)]
    assert len(places[0]) == 1
    assert places[0] == places[1]  # a frame that is shown again has no other model
    assert (shown(places[0][0]).entry, shown(places[0][0]).level) == (PAGE, "pte")
    frame["entry"] = frame["entry"].where(frame["level"] != "pte", PAGE ^ 2)
    other = re.findall("pte-magic-place pte-magic-([0-9a-f]{32})", str(frame._repr_html_()))
    assert shown(other[0]).entry == PAGE ^ 2


@pytest.mark.parametrize("table", [ADDRESS[:3].iloc[::-1], ADDRESS.drop(columns="entry"), WIDE, made([PAGE])])
def test_what_is_no_way_to_one_address_has_no_bits_below(table: pte_frame.PteFrame) -> None:
    assert "bits  field" not in repr(table)
    assert "pte-says" not in str(table._repr_html_())


LONG = made([(0x153000 + i) << 12 | 1 << 63 | (0x67 if i < 70 else 0x25) for i in range(100)])
ROWS = "shown as 2 runs of neighbours; pandas.options.display.max_rows = None shows all rows"


@pytest.mark.parametrize("kind", ["text", "html"])
def test_a_frame_of_more_rows_than_pandas_prints_is_shown_as_runs(kind: str) -> None:
    def shown() -> str:
        return repr(LONG) if kind == "text" else html_of(LONG)

    found = shown()
    assert "[100 rows x 31 columns" in (found if kind == "text" else str(LONG._repr_html_()))
    assert ROWS in (found if kind == "text" else str(LONG._repr_html_()))
    assert re.findall("0x7f[0-9a-f]{10}", found) == ["0x7f0000000000", "0x7f0000046000"]
    assert re.findall("4(?: |\N{NO-BREAK SPACE})KiB\\D+\\b(70|30)\\b(?! col)", found) == ["70", "30"]
    with pd.option_context("display.max_rows", None):
        found = shown()
    assert len(re.findall("0x7f[0-9a-f]{10}", found)) == 100
    assert "runs" not in found


def test_page_flags_that_all_rows_have_are_below_the_table_in_html() -> None:
    def flagged(**flags: list[bool]) -> str:
        table = made([PAGE, PAGE + 4096, PAGE + 8192])
        frame = table.assign(**{name: pd.array(values, "boolean") for name, values in flags.items()})
        return str(frame._repr_html_()).partition("<details>")[0]

    some = flagged(kpf_lru=[True] * 3, kpf_anon=[True] * 3, kpf_mlocked=[False, True, False])
    assert "page flags that are set in all of these rows: lru anon</p>" in some
    assert re.findall("<code[^>]*>((?!present)[^<]*)</code>", some) == ["", "mlocked", ""]
    alike = flagged(kpf_lru=[True] * 3, kpf_anon=[True] * 3)
    assert "page flags that are set in all of these rows: lru anon</p>" in alike
    assert "page flags that are set</th>" not in alike


def test_runs_are_cut_by_pandas() -> None:
    table = made([(0x153000 + i) << 12 | 1 << 63 | (0x67 if i // 2 % 2 else 0x25) for i in range(200)])  # two alike
    text = repr(table)
    assert "shown as 100 runs of neighbours" in text
    addresses = [int(found, 16) for found in re.findall("0x7f[0-9a-f]{10}", text)]
    expected = table["vaddr"].tolist()[::2]
    assert addresses == expected[:5] + expected[-5:]


def test_pages_in_scattered_page_frames_are_one_row_without_them() -> None:
    scattered = made([(0x153000 + i * 7 % 100) << 12 | 1 << 63 | (0x67 if i < 70 else 0x25) for i in range(100)])
    assert len(scattered.runs()) == 100
    text = repr(scattered)
    assert re.findall("0x7f[0-9a-f]{10}", text) == ["0x7f0000000000", "0x7f0000046000"]
    assert (
        "shown as 2 runs of neighbours, whose page frames need not be contiguous (.runs() merges only those that are); "
        in text
    )
    assert " pfn " not in text
    assert " pfn " in repr(LONG)


def test_entries_that_only_pagemap_has_are_shown_as_runs(new_map: NewMap) -> None:
    start = new_map(128 * BYTES, advice=NOHUGEPAGE)
    write(start, 100 * BYTES)
    text = repr(pte_magic.walk(start, start + 128 * BYTES, walker="pagemap"))
    assert "shown as 2 runs of neighbours" in text
    addresses = [int(found, 16) for found in re.findall("^[0-9]+ +(0x[0-9a-f]+)", text, re.MULTILINE)]
    assert addresses == [start, start + 100 * BYTES]


@pytest.mark.parametrize(
    "table",
    [
        LONG.assign(note=pd.Series([*LONG.groupby("vaddr")])),
        LONG.set_index(pd.RangeIndex(100, name="page")),
        LONG.set_index(pd.Index([f"page {i}" for i in range(100)])),
        LONG.assign(vaddr=[f"{vaddr:#x}" for vaddr in LONG["vaddr"]]),
        LONG.assign(pfn=[f"{pfn:#x}" for pfn in LONG["pfn"]]),
        LONG.assign(size=4096.0),
        LONG.assign(state="mine"),
        LONG.assign(entries=1),
        LONG.drop(columns="swap_offset"),
        LONG.drop(columns="state"),
        LONG.T,
    ],
    ids=["objects", "named index", "words", "hex", "hex frames", "floats", "states", "entries", "less", "none", "T"],
)
def test_what_somebody_added_is_not_merged_away(table: pte_frame.PteFrame) -> None:
    assert "runs" not in repr(table)
    assert f"[{len(table)} rows x {len(table.columns)} columns" in repr(table)
    assert "runs" not in str(table._repr_html_())


def test_rows_that_somebody_marked_are_runs_of_their_own() -> None:
    marked = LONG.assign(mine=[i in {10, 11} for i in range(100)])
    assert "shown as 4 runs of neighbours" in repr(marked)


def test_one_is_shown_in_the_singular() -> None:
    """Of what is counted there may be one: of entries, rows, columns, runs, flags, processes."""
    one = made([0x67])
    spans = np.array([(1 << 30, 2 << 20, 1, LEVELS.index("pmd")), (1 << 40, 4096, 1, LEVELS.index("pte"))], SPAN)
    apart = pte_frame.build(
        Entries(np.array([0x1067, PAGE], np.uint64), spans, "x86_64", "bpf"), kernel.running(), pid=1
    )
    assert (
        repr(apart).splitlines()[1]
        == "1 entry, 4 KiB: present 4 KiB \N{MULTIPLICATION SIGN} 1; table \N{MULTIPLICATION SIGN} 1"
    )
    assert "[1 row x " in repr(one)
    assert "[1 row x 1 column]" in repr(PteFrame(one[["vaddr"]]))
    many = made([page << 12 | 0x67 for page in range(1, 101)])
    assert "shown as 1 run of neighbours" in repr(many)
    odd = repr(pte_magic.decode([2] * 4))
    assert "1 more row is odd" in odd
    assert "2 more rows are odd" in repr(pte_magic.decode([2] * 5))
    assert [counted(n, "process", "processes") for n in (0, 1, 2000)] == ["0 processes", "1 process", "2,000 processes"]
    for n, said in ((1, "2 levels for 1 entry; "), (3, "2 levels for 3 entries; ")):
        with pytest.raises(PteMagicError, match=said):
            pte_magic.decode([5] * n, level=["pte", "pte"])


@pytest.mark.parametrize("bad", [5, [], "x", "", pd.NA, {}, "x86_64 nine", np.array([1, 2])], ids=repr)
@pytest.mark.parametrize("name", ["format", "encryption_mask", "frames_hidden", "ranges", "processes"])
def test_whatever_somebody_writes_into_attrs_a_frame_is_shown(name: str, bad: Any) -> None:
    whole = made([0x67, 0x1067])
    changed = whole.diff(made([0x65, 0x1067]))
    spans = np.array([(0, size, 1, at) for at, size in ((0, 1 << 39), (2, 1 << 30), (3, 2 << 20), (4, 4096))], SPAN)
    way = pte_frame.build(Entries(np.full(4, 0x67, np.uint64), spans, "x86_64", "bpf"), kernel.running(), pid=1)
    pages = [page << 12 | 0x67 for page in range(1, 101)]
    many = made(pages).diff(made([page ^ 2 for page in pages]))  # shown as runs
    for of in (whole, pte_magic.decode([2, 0x67]), way, changed, many):
        found = of.drop(columns=[column for column in of.columns if str(column).startswith("format")])
        found.attrs[name] = bad
        assert repr(found)
        assert found._repr_html_()


@pytest.mark.parametrize("bad", [5, [], "x", "", pd.NA, {}, "x86_64 nine"], ids=repr)
def test_attrs_that_name_no_kernel_are_one_line(bad: Any) -> None:
    found = made([0x67]).drop(columns="format")
    found.attrs["format"] = bad
    for ask in (found.bits, lambda: pte_magic.decode(found["entry"]), lambda: found.diff(found)):
        with pytest.raises(
            TargetError, match=r"attrs\['format'\] = .*; leave attrs as pte_magic.walk\(\) made them"
        ) as caught:
            ask()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("columns", [60, 250])
@pytest.mark.parametrize("rows", [0, 1, 4, 200])
def test_names_and_values_of_the_users_reach_no_terminal_raw(
    rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    evil, bits = "\x1b[31mx\n", pd.array([True] * rows, dtype="boolean")
    values: dict[str, Any] = {
        evil: "\x1b[2J",
        "a\x1b": bits,
        "kpf_\x1b": bits,
        "c\x1b": pd.Categorical(["\x1b"] * rows),
    }
    frame = pte_magic.decode([0x8000000153016067 ^ (at % 3) << 1 for at in range(rows)])
    named = frame.assign(**values)
    labels = pd.Index([f"\x1b[{at}m" for at in range(rows)], name=evil)
    indexed, doubled = named.set_index(labels), named.set_index([labels, labels])
    for shown in (named, indexed, doubled, indexed[["entry", evil]], named.rename(columns={"state": evil})):
        assert isinstance(shown, pte_magic.PteFrame)
        for text in (repr(shown), str(shown._repr_html_())):
            assert "\x1b" not in text
            assert "\nx" not in text
    assert evil in named.columns  # which is not changed
    assert list(indexed.index) == list(labels)
    assert rows != 4 or "\\x1b[31mx\\n" in repr(named)


def test_names_of_the_users_in_regions_reach_no_terminal_raw() -> None:
    regions = pte_magic.walk(bytes(1 << 16)).regions()
    values: dict[str, Any] = {"\x1b[2J": "\x1b[31mx"}
    named = regions.assign(**values).set_axis([f"\x1b[{at}m" for at in range(len(regions))])
    for text in (repr(named), str(named._repr_html_())):
        assert "\\x1b[31mx" in text
        assert "\x1b" not in text
