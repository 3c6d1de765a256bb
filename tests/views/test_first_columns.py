"""The columns that a notebook shows first, and the place of each entry in an array or a range."""

from __future__ import annotations

import mmap
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from conftest import RAW, needs_root
from handmade import NOHUGEPAGE, PAGE, NewMap, write

import pte_magic
from pte_magic import PteFrame
from pte_magic.text import units

PAGES = 8
FLAGS = "page flags that are set"


class Tables(HTMLParser):
    """The texts of all cells, by table and row; and the tables that are within an element that opens by a click."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.hidden: list[int] = []
        self._open = self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "details":
            self._open = True
            assert not attrs  # closed, until somebody opens it
        elif tag == "table":
            self.hidden += [len(self.tables)] * self._open
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self._in_cell = True
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open &= tag != "details"
        self._in_cell &= tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] += data.strip()


def shown(frame: PteFrame) -> Tables:
    return Tables(str(frame._repr_html_()).replace("\N{NO-BREAK SPACE}", " "))


def column(rows: list[list[str]], name: str) -> list[str]:
    return [row[rows[0].index(name)] for row in rows[1:]]


@pytest.fixture
def array() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """An array that begins within a page, on small pages that are all there."""
    memory = mmap.mmap(-1, PAGES * PAGE)
    memory.madvise(NOHUGEPAGE)
    found = np.frombuffer(memory, np.float64)[3:]
    found[:] = 1
    return found


@needs_root
def test_bits_are_words_in_code_and_all_columns_are_a_click_away(array: np.ndarray) -> None:
    frame = pte_magic.walk(array, walker=RAW)
    found = shown(frame)
    assert found.hidden == [1]
    first, every = found.tables
    assert first[0][0] == ""
    assert first[0][1:5] == ["vaddr", "index", "size", "state"]
    assert first[0][-2:] == ["bits that are set", "entry"]
    for row, bits in enumerate(column(first, "bits that are set")):
        of = frame.iloc[row]
        names = [name for name in frame.columns if frame[name].dtype == "boolean" and of[name] is np.True_]
        assert bits.split() == [str(name) for name in names]
    assert re.search("<code[^>]*>present rw ", str(frame._repr_html_()))
    assert {str(name) for name in frame.columns if frame[name].notna().all()} - set(every[0]) <= {
        *("cache", "pkey", "host", "pid", "walker", "format")  # the line below has them
    }
    assert column(every, "entry") == column(first, "entry") == [f"{entry:#018x}" for entry in frame["entry"]]


def test_each_row_has_the_index_of_its_first_item(array: np.ndarray) -> None:
    start = array.ctypes.data
    indices = column(shown(pte_magic.walk(array)).tables[0], "index")
    assert indices[0] == "[0]"
    for index, page in zip(indices[1:], range(start // PAGE * PAGE + PAGE, start + array.nbytes, PAGE), strict=True):
        at = int(index.strip("[]"))
        assert array[at:].ctypes.data == page
    table = array[: len(array) // 5 * 5].reshape(-1, 5)
    for index, page in zip(
        column(shown(pte_magic.walk(table)).tables[0], "index")[1:],
        range(start // PAGE * PAGE + PAGE, start + table.nbytes, PAGE),
        strict=True,
    ):
        i, j = map(int, index.strip("[]").split(", "))
        assert table[i, j:].ctypes.data == page


def test_other_ranges_have_offsets_and_several_pieces_neither(new_map: NewMap) -> None:
    start = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(start, PAGES * PAGE)
    frame = pte_magic.walk(start, start + PAGES * PAGE)
    offsets = [f"+{units.size(page * PAGE)}" for page in range(PAGES)]
    assert column(shown(frame).tables[0], "offset") == offsets
    for other in (frame.iloc[[0, 3]], frame.iloc[:1], pte_magic.walk(start), frame.rename(columns={"vaddr": "at"})):
        assert not {"offset", "index"} & set(shown(other).tables[0][0])


@needs_root
def test_with_page_frames_who_maps_it_follows_the_page_frame(array: np.ndarray) -> None:
    frame = pte_magic.walk(array, walker=RAW).frames()
    first = shown(frame).tables[0]
    names = first[0]
    assert names[names.index("pfn") + 1] == "mapped by"
    assert column(first, "mapped by") == ["1"] * PAGES
    words = unescape(re.sub("<[^>]*>", "|", str(frame._repr_html_())))
    told = re.search(r"page flags that are set in all of these rows: ([a-z_ ]+)", words)
    common = told[1].split() if told else []
    each = column(first, FLAGS) if FLAGS in names else [""] * PAGES
    for row, flags in enumerate(each):
        of = frame.iloc[row]
        assert {f"kpf_{name}" for name in [*common, *flags.replace("-", "").split()]} == {
            str(name) for name in frame.columns if str(name).startswith("kpf_") and of[name] is np.True_
        }
    assert not [name for name in names if name.startswith("kpf_")]
    named = [str(name) for name in frame.columns if "kpf_" in str(name)]
    many = frame.assign(**{name: pd.array([name == named[0], *[True] * (PAGES - 1)], "boolean") for name in named})
    assert column(shown(many).tables[0], FLAGS)[1].endswith(" pgtable")  # however many they are
    html = str(many._repr_html_())
    assert html.count("<code") == html.count("</code>") == 2 * PAGES


def test_columns_that_somebody_added_are_shown_first(array: np.ndarray) -> None:
    frame = pte_magic.walk(array).assign(mine=[f"<{at}>" for at in range(PAGES)])
    assert column(shown(frame).tables[0], "mine") == [f"<{at}>" for at in range(PAGES)]
    assert "<0>" not in str(frame._repr_html_())
    assert "<0>" in unescape(str(frame._repr_html_()))
    plain = frame[["vaddr", "size"]]
    assert shown(PteFrame(plain)).hidden == []
    assert isinstance(pd.concat([frame, frame])._repr_html_(), str)
