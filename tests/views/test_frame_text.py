"""The text of a frame: it fits the screen, cuts no address and no entry, and says what it left out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from differences import ACCESSED, DIRTY, RW, START, pages
from hypothesis import given
from hypothesis import strategies as st

import pte_magic
from pte_magic.text import screen

PAGE = 0x8000000153016067


def text(frame: Any, columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    return repr(frame).splitlines()


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=20), st.integers(50, 250))
def test_any_entries_fit_and_are_all_there(raw: list[int], columns: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines = text(pages(*raw), columns, patch)
    assert max(map(len, lines)) <= columns
    rows = [line for line in lines if re.match(r"(\d+ +)?0x[0-9a-f]{12} ", line)]
    assert [[int(word, 16) for word in re.findall("0x[0-9a-f]+", row)[:2]] for row in rows] == [
        [START + at * 4096, entry] for at, entry in enumerate(raw)
    ]


def test_each_bit_is_in_its_row_or_told_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pages(PAGE, PAGE ^ DIRTY, 0, PAGE ^ DIRTY ^ RW)
    (told,) = (line for line in text(frame, 80, monkeypatch) if line.startswith("bits that are set"))
    assert told == "bits that are set in all of these rows that have any: present user accessed nx"
    rows = [line for line in text(frame, 80, monkeypatch) if re.match(r"\d +0x", line)]
    assert [row.split("0x153016")[-1].split() for row in rows if "present" in row] == [["rw", "dirty"], ["rw"], []]
    assert rows[2].split()[-1] == "-"


def test_wide_screens_show_more(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pages(PAGE, PAGE ^ DIRTY)
    assert " level " not in text(frame, 60, monkeypatch)[2]
    assert "pte" in " ".join(text(frame, 60, monkeypatch))  # as for columns that are the same in all rows
    assert "level" in text(frame, 200, monkeypatch)[2]
    assert not [line for line in text(frame, 200, monkeypatch) if line.startswith(("no room", "bits that are set in"))]


@pytest.mark.parametrize(
    ("option", "value", "longest"),
    [("display.width", 120, 120), ("display.width", None, 60), ("display.expand_frame_repr", False, None)],
)
def test_options_of_pandas_hold(option: str, value: Any, longest: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pages(PAGE, PAGE ^ DIRTY, 0)
    with pd.option_context(option, value):
        found = max(map(len, text(frame, 60, monkeypatch)))
    assert found > 60 if longest != 60 else found <= 60
    assert longest is None or found <= longest


def test_pandas_says_how_many_columns_there_are_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pages(PAGE, PAGE ^ DIRTY, 0)
    with pd.option_context("display.max_columns", 4):
        assert text(frame, 200, monkeypatch)[2].split()[:2] == ["vaddr", "entry"]
    with pd.option_context("display.max_columns", None):
        assert "level" in repr(frame)
        assert "bits that are set" in repr(frame)
    assert "rw" in frame.to_string().split()  # which is pandas' own, with all columns


@pytest.mark.parametrize("kind", ["text", "html"])
def test_rows_that_differ_in_accessed_only_are_one(kind: str) -> None:
    frame = pages(*(PAGE ^ (at % 3 == 0) * ACCESSED for at in range(90)), *[PAGE ^ DIRTY] * 10)
    shown = (repr(frame) if kind == "text" else str(frame._repr_html_())).replace("\N{NO-BREAK SPACE}", " ")
    first = shown.partition("<details>")[0]
    assert re.findall(r"0x0000[0-9a-f]{8}\b", first) == [f"{START:#014x}", f"{START + 90 * 4096:#014x}"]
    assert "accessed 60/90" in first
    assert "shown as 2 runs" in shown
    assert len(frame.runs()) > 30  # these are exact


def test_a_share_of_many_entries() -> None:
    frame = pages(*(PAGE ^ (at % 4 == 0) * ACCESSED for at in range(2000)))
    assert "accessed 75 %" in repr(frame)


def test_colours_are_only_where_they_are_wanted() -> None:
    frame = pages(PAGE, 0)
    plain = repr(frame)
    with screen.colored(wanted=True):
        colored = repr(frame)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert colored.startswith("\x1b[1m")
    for word in ("2m" + "none", "34m" + "4 KiB"):
        assert f"\x1b[{word}\x1b[m" in colored


def test_summaries_and_other_tables_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pages(*[PAGE, PAGE ^ DIRTY, 0] * 5)
    changed = frame.diff(pages(*[PAGE ^ DIRTY ^ RW, PAGE, PAGE] * 5))
    for shown in (frame.summary(), changed, changed.runs(), frame.runs(), pte_magic.machine()):
        assert max(map(len, text(shown, 80, monkeypatch))) <= 80
    assert np.array_equal(frame.summary()["bytes"].to_numpy(), [5 * 4096, 10 * 4096])


@pytest.mark.parametrize("columns", [20, 45, 62, 80])
def test_runs_of_single_entries_fit_as_well_as_it_goes(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = pages(PAGE, 0, PAGE ^ DIRTY, PAGE ^ RW).runs()
    assert runs["entries"].eq(1).all()
    lines = text(runs, columns, monkeypatch)
    assert sum(bool(re.match(r"(\d+ +)?0x[0-9a-f]{12}\b", line)) for line in lines) == len(runs)
    with pd.option_context("display.max_columns", 1):
        assert "vaddr" in " ".join(text(runs, columns, monkeypatch))


@pytest.mark.parametrize("columns", [45, 60, 80])
def test_frames_without_rows_fit(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pages(PAGE, 0)
    for empty in (frame.iloc[:0], pte_magic.machine().iloc[:0]):
        lines = text(empty, columns, monkeypatch)
        assert max(map(len, lines)) <= columns
        assert "Empty DataFrame" in lines


def test_standard_output_needs_only_what_print_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pages(PAGE, 0)
    expected = repr(frame)
    for stream in (None, object()):
        monkeypatch.setattr("sys.stdout", stream)
        assert repr(frame) == expected
