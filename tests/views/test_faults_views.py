"""The displays of page faults: the sentence, lines with their heat in any width, memory, HTML and the timeline."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from pte_magic import TargetError, Timeline
from pte_magic.events.fault_kinds import KINDS
from pte_magic.text import screen
from pte_magic.views import faults_html, faults_shown, faults_text, faults_timeline
from pte_magic.views.faults_shown import Group, LineRow, MemoryRow, Shown, SourceRows
from pte_magic.views.faults_timeline import Marks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096
LINES = [
    LineRow(1, "import numpy as np", 0, 0, 0),
    LineRow(2, "if True:", 0, 0, 0),
    LineRow(3, f"    b = np.ones(100_000)  # a comment that goes {'on and ' * 20}on", 1000, 4096000, 3_100_000),
    LineRow(4, "c = '<b>'", 10, 0, 0),
]  # fmt: skip
MEMORY = [
    MemoryRow(
        "b",
        is_variable=True,
        faults=1000,
        bytes=4096000,
        ns=3_100_000,
        groups=[Group(1000, "first touch: fresh page", "", "")],
    ),
    MemoryRow(
        "a <temporary>",
        is_variable=False,
        faults=10,
        bytes=0,
        ns=0,
        groups=[Group(9, "spurious", "", ""), Group(1, "copy-on-write", "", "")],
    ),
]


def marks(count: int = 1000) -> Marks:
    address = np.arange(count, dtype=np.uint64) * np.uint64(PAGE) + np.uint64(1 << 40)
    kind = np.full(count, KINDS.index("first touch: fresh page"), np.int8)
    kind[: count // 2] = KINDS.index("copy-on-write")
    memory = np.zeros(count, np.int32)
    memory[count - 10 :] = 1
    return Marks(np.arange(count) * 1000, address, memory, ["b", "a <temporary>"], kind, KINDS, count * 1000)


def shown(*, knows: frozenset[str] = frozenset({"bytes", "ns"})) -> Shown:
    sentence = faults_shown.sentence(1010, 2, 3_100_000, 0.01, [Group(1000, "first touch: fresh page", "b", "line 3")])
    return Shown(sentence, [SourceRows("In[5]", LINES)], MEMORY, knows, ["source: bpf"], marks())


def test_each_kind_has_its_noun_and_its_look() -> None:
    assert tuple(faults_shown.PHRASES) == KINDS
    assert set(faults_timeline._GROUP) <= set(KINDS)
    assert set(faults_timeline._GROUP.values()) <= set(faults_timeline.LOOKS)


def test_the_sentence() -> None:
    groups = [
        Group(1024, "first touch: fresh page", "b", "line 3"),
        Group(100, "minor", "c", "line 4"),
        Group(1, "page cache", "file libc.so.6", ""),
        Group(50, "spurious", "", ""),
    ]
    found = faults_shown.sentence(1204, 0, 3_100_000, 0.00816, groups)
    assert found == (
        "1,204 page faults took 3.1 ms of 8.16 ms (38 %): 1,024 first touches of b by line 3; "
        "100 faults in c by line 4; 1 page from the page cache in file libc.so.6; 79 others"
    )
    assert faults_shown.sentence(1, 1, 0, 2.5, []) == "1 page fault (1 major) in 2.5 s"
    assert faults_shown.sentence(10, 0, 0, 2.5, [], lost=1670) == "10 page faults in 2.5 s; 1,670 more were lost"


@pytest.mark.parametrize(("ns", "said"), [(0, "0 ns"), (999, "999 ns"), (1500, "1.5 us"), (2_000_000_000, "2 s")])
def test_times_have_units(ns: int, said: str) -> None:
    assert faults_shown.duration(ns) == said


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("knows", [frozenset[str](), frozenset({"bytes", "ns"})])
def test_text_fits_the_screen(monkeypatch: pytest.MonkeyPatch, columns: int, knows: frozenset[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = faults_text.text(shown(knows=knows)).splitlines()
    assert max(map(len, found)) <= columns
    hot = next(line for line in found if "1,000" in line and " 3 " in line)
    assert "    b = np" in hot
    assert ("3.906 MiB" in "\n".join(found)) == (bool(knows) and columns > 40)  # others give way
    assert ("no room here for bytes, time" in found) == (bool(knows) and columns == 40)
    assert any(line.startswith("[source: bpf]") for line in found)
    assert any(line.startswith("(a <") for line in found)


def test_bars_and_colours_show_the_heat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with screen.colored(wanted=True):
        found = faults_text.text(shown()).splitlines()
    hot = next(line for line in found if "b = np" in line)
    assert hot.startswith("\x1b[31m########")
    warm = next(line for line in found if "c = '<b>'" in line)
    assert "\x1b" not in warm
    assert warm.startswith("       # ")


def test_html_escapes_and_has_heads_for_rows_and_columns() -> None:
    found = faults_html.html(shown())
    assert "c = &#x27;&lt;b&gt;&#x27;" in found
    assert "<i>a &lt;temporary&gt;</i>" in found
    heat = [float(one) for one in re.findall(r"rgba\(217, 119, 6, ([\d.]+)\)", found)]
    assert max(heat) == 0.55
    assert min(heat) < 0.1
    assert found.count('scope="row"') == len(LINES) + len(MEMORY)
    assert {"faults", "bytes", "time", "line", "In[5]", "memory", "kinds"} <= set(
        re.findall(r'scope="col"[^>]*>([^<]*)<', found)
    )
    assert "<img" in found
    assert "bytes" not in re.findall(r'scope="col"[^>]*>([^<]*)<', faults_html.html(shown(knows=frozenset())))


def test_the_timeline_is_a_picture_with_its_words(tmp_path: Path) -> None:
    picture = shown().timeline()
    assert isinstance(picture, Timeline)
    picture.save(tmp_path / "faults.svg")
    root = ET.fromstring((tmp_path / "faults.svg").read_text())  # noqa: S314  (our own)
    words = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"b", "a <temporary>", "990 faults", "10 faults", "first touch", "copy-on-write"} <= set(words)
    assert words.count("0 ms") == 1
    with pytest.raises(TargetError, match="ends in"):
        picture.save(tmp_path / "faults.gif")
    assert picture._repr_html_().startswith("<img ")
    assert 'alt="page faults over time: b: 990 faults in' in picture._repr_html_()


def test_the_timeline_as_text_goes_from_the_top_left_to_the_bottom_right() -> None:
    rows = repr(shown().timeline()).splitlines()
    first, middle, last = (row.partition("|")[2] for row in rows[:3])
    assert first.index("#") < middle.index("#") < last.index("#")
    assert rows[-1].strip() == "0 to 1 ms"
    assert repr(Timeline(None)) == "<Timeline of no faults>"
    assert "<img " in Timeline(None)._repr_html_()


def test_a_picture_of_a_million_faults_is_small() -> None:
    found = Timeline(marks(10**6))._repr_html_()
    assert len(found) < 200_000


def test_no_faults_at_all() -> None:
    nothing = Shown(faults_shown.sentence(0, 0, 0, 0.001, []), [], [], frozenset(), [], None)
    assert faults_text.text(nothing) == "0 page faults in 1 ms"
    assert faults_html.html(nothing) == "<p><b>0 page faults in 1 ms</b></p>"


def test_pandas_options_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pd.option_context("display.width", 200):
        assert max(map(len, faults_text.text(shown()).splitlines())) > 80
