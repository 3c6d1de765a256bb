"""The page map: what is sent, written and drawn of a frame, against plain loops over its rows."""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from handmade import HUGE, NewMap
from hypothesis import given
from hypothesis import strategies as st
from mapped_entries import (
    GUARD,
    MIB2,
    PAGE,
    START,
    build,
    contiguous,
    expanded,
    images,
    made,
    page,
    pages,
    pieces,
    values,
)

import pte_magic
from pte_magic import PteFrame
from pte_magic.errors import TargetError
from pte_magic.text import units
from pte_magic.views.markup import STATIC
from pte_magic.views.page_map.page_map import PageMap

if TYPE_CHECKING:
    from collections.abc import Callable


@given(pieces)
def test_runs_expand_to_the_values_of_the_rows(drawn: list[tuple[str, int, str, bool]]) -> None:
    table = build(drawn)
    view = PageMap(table)
    for color in view.colors:
        if color != "contiguity":
            view.color = color
            assert view.layer["color"] == color
            assert expanded(view.layer) == values(table, color)
    assert expanded(view.states) == values(table, "state")


@given(pieces)
def test_spans_expand_to_the_addresses_of_the_rows(drawn: list[tuple[str, int, str, bool]]) -> None:
    table = build(drawn)
    sent = PageMap(table).spans
    count = len(sent) // 20
    first, size = np.frombuffer(sent, "<u8", 2 * count).reshape(2, count).tolist()
    counts = np.diff(np.frombuffer(sent, "<u4", offset=16 * count), prepend=0).tolist()
    found = [(at + i * of, of) for at, of, n in zip(first, size, counts, strict=True) for i in range(n)]
    assert found == [*zip(table["vaddr"], table["size"], strict=True)]


@given(pieces)
def test_contiguous_runs_alternate(drawn: list[tuple[str, int, str, bool]]) -> None:
    table = build(drawn)
    if "contiguity" not in PageMap(table).colors:
        assert table["pfn"].isna().all()
        return
    view, numbers = PageMap(table, "contiguity"), contiguous(table)
    names = ["not present", "contiguous", "next contiguous"]
    assert expanded(view.layer) == [names[2 - number % 2 if number else 0] for number in numbers]
    runs = max(numbers)
    largest = max((sum(table["size"][np.array(numbers) == number]) for number in range(1, runs + 1)), default=0)
    told = f"{runs} physically contiguous run{'s' * (runs > 1)}, the largest {units.size(largest)}"
    assert view.layer["summary"].endswith(told if runs else "nothing is present")


def test_frame_number_1_does_not_continue_what_has_none() -> None:
    assert expanded(PageMap(pages(0, page(1), page(2)), "contiguity").layer) == ["not present", *["contiguous"] * 2]


@given(pieces.filter(bool), st.sampled_from(["state", "size", "present"]))
def test_text_html_and_widget_tell_the_same_counts(drawn: list[tuple[str, int, str, bool]], color: str) -> None:
    table = build(drawn)
    view, names = PageMap(table, color), values(table, color)
    entries = Counter(names)
    rows = zip(names, table["size"], strict=True)
    runs = [(name, sum(size for _, size in group)) for name, group in groupby(rows, lambda row: row[0])]
    expected = {
        (
            name,
            f"{entries[name]}",
            units.size(sum(size for of, size in runs if of == name)),
            f"{sum(of == name for of, _ in runs)}",
            units.size(max(size for of, size in runs if of == name)),
        )
        for name in entries
    }
    assert {tuple(category["words"]) for category in view.layer["legend"]} == expected
    found = [re.findall("<td>([^<]*)</td>", row) for row in re.findall("<tr>.*?</tr>", view.html())]
    assert {tuple(row) for row in found if len(row) == 5 and not row[0].startswith("0x")} == expected
    lines = [tuple(re.split("  +", line)[1:]) for line in view.text().split("\n\n")[2].splitlines()[1:]]
    assert {line for line in lines if len(line) == 5} == expected
    assert view.layer["summary"] in view.text()
    assert view.layer["summary"] in view.html()


def test_the_first_runs_are_listed_in_text_and_html() -> None:
    table = made([(START, PAGE, "pte", [page(1), page(2), 0]), (START + MIB2, MIB2, "pmd", [page(512, 0xE7)])])
    expected = [
        ("0x010000000000-0x010000002000", "2", "4 KiB", "8 KiB", "present"),
        ("0x010000002000-0x010000003000", "1", "4 KiB", "4 KiB", "none"),
        ("0x010000200000-0x010000400000", "1", "2 MiB", "2 MiB", "present"),
    ]
    view = PageMap(table)
    assert [tuple(re.split("  +", line)) for line in view.text().splitlines()[-3:]] == expected
    assert (
        re.findall("<td>(0x.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", view.html()) == expected
    )
    assert view.text().startswith("page map: 4 entries, 2.012 MiB, 0x010000000000-0x010000400000, coloured by state")


def test_many_runs_are_not_listed_but_counted() -> None:
    view = PageMap(pages(*[page(1), 0] * 50), "state")
    assert view.text().endswith("\nthe first 20 of 100 runs")
    assert view.text().count("-0x") == view.html().count("</td><td>1</td><td>4 KiB</td>") + 1 == 21
    assert "<p>the first 20 of 100 runs</p>" in view.html()
    apart = made([(START + 2 * at * PAGE, PAGE, "pte", [page(1), 0][: 1 + at % 2]) for at in range(30)])
    assert PageMap(apart).text().endswith("\nthe first 20 of 45 runs")  # some end with a span only, some within one


def test_the_first_colouring_that_distinguishes_something_is_the_default() -> None:
    huge = made([(START, PAGE, "pte", [page(1)]), (START + MIB2, MIB2, "pmd", [page(512, 0xE7)])])
    assert PageMap(pages(page(1), 0)).color == "state"
    assert PageMap(huge).color == "size"
    assert PageMap(pages(page(1), page(7))).color == "contiguity"
    assert PageMap(pages(page(1), page(2, 0x25))).color == "rw"
    assert PageMap(pages(page(1), page(2))).color == "state"  # nothing does
    assert PageMap(pages(page(1)).iloc[:0]).color == "state"


def test_the_picture_is_an_image_that_needs_nothing_of_its_page() -> None:
    html = PageMap(pages(page(1), 0, GUARD)).html()
    picture, *legend = images(html)
    assert len(legend) == 3
    colors = dict(re.findall("--pte-map-([a-z]+): ([^;]+);", (STATIC / "map.css").read_text(encoding="utf-8")))
    grounds = (("empty", "blue", "brown"), ("empty",), ("blue",), ("brown",))
    for image, known in zip((picture, *legend), grounds, strict=True):
        ET.fromstring(image)  # noqa: S314  (it is our own: what is read is that it is XML)
        assert not re.search("var\\(|style|script|href|https?://(?!www.w3.org/2000/svg)", image)
        for name in known:
            assert f'fill="{colors[name]}"' in image
    assert "<svg" not in html


def test_what_is_sent_grows_with_runs_not_with_rows() -> None:
    few, many, broken = (
        PageMap(pages(*raw), "state") for raw in ([page(1)] * 2, [page(1)] * 5000, [page(1), 0] * 2500)
    )
    sent = [[len(view.layer["runs"]), len(view.states), len(view.spans)] for view in (few, many, broken)]
    assert sent == [[5, 0, 20], [5, 0, 20], [25000, 0, 20]]
    broken.color = "size"  # from now on the states are needed beside it
    assert len(broken.states["runs"]) == 25000


def test_a_part_of_a_frame_is_shown_as_it_is() -> None:
    table = pages(*[page(pfn) for pfn in range(10)])
    part = pd.concat([table.iloc[6:8], table.iloc[[3, 1]]])
    view = PageMap(part, "contiguity")
    assert np.frombuffer(view.spans, "<u8", 3).tolist() == [START + at * PAGE for at in (6, 3, 1)]
    assert expanded(view.layer) == ["contiguous", "contiguous", "next contiguous", "contiguous"]
    assert view.frame.iloc[2]["vaddr"] == START + 3 * PAGE


def test_regions_are_those_of_the_process(new_map: NewMap) -> None:
    address = new_map(HUGE)
    view = PageMap(pte_magic.walk(address, address + HUGE))
    assert [f"{address:#x}", f"{address + HUGE:#x}", "no name, rw-p"] in [[*region] for region in view.regions]
    assert PageMap(pages(page(1))).regions == []  # pid 1 has nothing there, or it may not be read


def test_tables_have_no_cells() -> None:
    view = PageMap(made([(START, MIB2, "pmd", [0x1067]), (START, PAGE, "pte", [page(1), page(2)])]))
    assert (view.count, expanded(view.layer)) == (2, ["present"] * 2)
    assert view.frame["state"].tolist() == ["present"] * 2


@pytest.mark.parametrize("dtype", ["bool", "boolean"])
def test_columns_of_ones_own_can_be_shown(dtype: str) -> None:
    table = pages(page(1), page(2), 0).assign(**{"<b>": pd.Series([True, False, True], dtype=dtype)})
    view = PageMap(PteFrame(table), "<b>")
    assert expanded(view.layer) == ["<b>", "not <b>", "<b>"]
    assert "not &lt;b&gt;" in view.html()
    assert "<b>" not in view.html()


def test_columns_that_say_nothing_are_not_offered() -> None:
    table = pages(page(1))
    table["pfn"] = pd.array([pd.NA], "UInt64")
    table["dirty"] = pd.array([pd.NA], "boolean")
    assert not {"contiguity", "dirty"} & {*PageMap(table).colors}
    with pytest.raises(
        TargetError, match="cannot colour by 'contiguity': no page frame is visible here; choose one of st"
    ):
        PageMap(table, "contiguity")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (lambda: pte_magic.decode([page(1)]), r"no vaddr, size; make it of what %pte TARGET"),
        (lambda: pages(page(1))[["vaddr", "pfn"]], r"no size, state;"),
        (lambda: pages(page(1)).runs(), r"before \.runs\(\)"),
    ],
)
def test_frames_without_places_are_refused(table: Any, why: str) -> None:
    with pytest.raises(TargetError, match=why):
        PageMap(table())


def test_an_unknown_colour_changes_nothing() -> None:
    view = PageMap(pages(page(1)))
    with pytest.raises(TargetError, match="cannot colour by 'pfn'"):
        view.color = "pfn"
    assert (view.color, view.layer["color"]) == ("state", "state")


def test_what_is_changed_in_the_frame_later_does_not_change_the_map() -> None:
    table = pages(page(1), page(2))
    view = PageMap(table)
    table["rw"] = pd.array([False, False], "boolean")
    view.color = "rw"
    assert expanded(view.layer) == ["rw", "rw"]


def test_the_position_stays_within() -> None:
    view = PageMap(pages(page(1), page(2)))
    for wanted, found in ((1, 1), (7, 1), (-1, 0)):
        view.position = wanted
        assert view.position == found


def test_no_entries_and_one() -> None:
    none, one = PageMap(pages(page(1)).iloc[:0]), PageMap(pages(page(1)))
    assert none.text() == "page map: no entries"
    assert "page map: no entries" in none.html()
    assert (none.count, none.position, len(none.layer["runs"]), len(none.spans)) == (0, 0, 0, 0)
    assert "\n\n#\n\n" in one.text()


def test_a_real_walk_has_a_map(walker: str) -> None:
    array = np.ones(1 << 18)
    table = pte_magic.walk(array, walker=walker)
    view = PageMap(table)
    for color in view.colors:
        view.color = color
        assert sum(int(category["words"][1].replace(",", "")) for category in view.layer["legend"]) == len(table)


def test_a_notebook_keeps_text_and_html_of_the_colours_in_use() -> None:
    view = PageMap(pages(page(1), page(2, 0x25)))
    view.color = "dirty"
    bundle: Any = view._repr_mimebundle_()
    data = bundle[0]
    assert set(data) == {"text/plain", "text/html"}
    assert data["text/plain"] == repr(view)
    for form in ("text/plain", "text/html"):
        assert "coloured by dirty" in data[form]
        assert "not dirty" in data[form]
    assert '<img alt="page map: 2 entries' in data["text/html"]


@pytest.mark.parametrize(
    "color",
    [pd.NA, pd.Series(["rw"]), pd.Categorical(["rw"]), pd.DataFrame({"rw": [1]}), np.zeros(2, "i4,i4"), np.array("rw"),
     5, ["rw"], b"rw", "x" * 5000],
    ids=lambda color: type(color).__name__,
)  # fmt: skip
def test_what_is_not_the_name_of_a_colouring_is_one_short_line(color: Any) -> None:
    table = pages(page(1))
    asks: tuple[Callable[[], Any], ...] = (lambda: table.map(color=color), lambda: table.map(color))
    for ask in asks:
        with pytest.raises(TargetError, match=r"^cannot colour by .*; choose one of state, size") as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
