"""How a difference is printed: one line that counts, the bits that flipped, and runs where there are many rows."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from differences import DIRTY, NX, PAGE, RW, START, made, page, pages, swap

from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.formats.hidden import hide
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from pte_magic.api.pte_diff import PteDiff


def shown(found: PteDiff, kind: str) -> str:
    return repr(found) if kind == "text" else str(found._repr_html_())


@pytest.mark.parametrize("kind", ["text", "html"])
def test_one_line_says_how_much_changed(kind: str) -> None:
    before = [page(i) for i in range(1, 513)]
    after = [*before[:100], before[100] & ~RW, before[101] & ~RW, page(9999), *before[103:]]
    found = pages(*before).diff(pages(*after))
    assert "3 of 512 entries changed: 2 write-protected, 1 new page frame" in shown(found, kind)
    assert "nothing changed" in shown(pages(*before).diff(pages(*before)), kind)
    assert "2 entries changed: 2 write-protected" in shown(found[found["change"] == "write-protected"], kind)


def test_text_names_the_bits_that_flipped() -> None:
    found = pages(page(5), page(6), 0, page(8)).diff(pages(page(5, 0x27), page(8, 0x65), page(3), swap(0, 3)))
    protected = "-rw pfn new page frame, write-protected"
    mapped = "+present +rw +user +accessed +dirty pfn +nx"
    swapped = "-present -rw -user -accessed -dirty offset type -nx"
    assert [" ".join(line.split()) for line in repr(found).splitlines()[2:6]] == [
        f"0 {START:#014x} 4 KiB pte {page(5):#018x} {page(5, 0x27):#018x} -dirty no longer dirty",
        f"1 {START + PAGE:#014x} 4 KiB pte {page(6):#018x} {page(8, 0x65):#018x} {protected}",
        f"2 {START + 2 * PAGE:#014x} 4 KiB pte {0:#018x} {page(3):#018x} {mapped} mapped",
        f"3 {START + 3 * PAGE:#014x} 4 KiB pte {page(8):#018x} {swap(0, 3):#018x} {swapped} swapped out",
    ]


def test_html_marks_the_digits_that_changed_and_cuts_no_words() -> None:
    found = pages(page(5), page(3, 0x225) & ~NX).diff(pages(page(5, 0x27), page(6) | 1 << 10 | 3 << 59))
    html = str(found._repr_html_())
    assert ">0x80000000000050<b>6</b>7<br>0x80000000000050<b>2</b>7</code></td>" in html
    assert '<td><span style="white-space: nowrap">-dirty</span></td>' in html
    assert f"<td>{found['change'][1]}</td>" in html
    assert len(found["change"][1]) > 100
    assert not re.search("[\ue000-\uf8ff]", html)
    with pd.option_context("display.notebook_repr_html", False):  # noqa: FBT003  (pandas' own)
        assert found._repr_html_() is None


@pytest.mark.parametrize("kind", ["text", "html"])
def test_a_long_difference_is_shown_as_its_runs(kind: str) -> None:
    found = pages(*[page(i + 1) for i in range(200)]).diff(
        pages(*[page(i + 1, 0x65 if i < 150 else 0x27) for i in range(200)])
    )
    text = shown(found, kind)
    assert "shown as 2 runs of neighbours" in text
    assert re.findall("0x0000[0-9a-f]{8}(?![0-9a-f])", text) == [f"{START:#014x}", f"{START + 150 * PAGE:#014x}"]
    with pd.option_context("display.max_rows", None):
        assert len(re.findall("0x0000[0-9a-f]{8}(?![0-9a-f])", shown(found, kind))) == 200
    scattered = pages(*[page(i + 1) for i in range(200)]).diff(
        pages(*[page(i + 1, (0x65, 0x27)[i % 2]) for i in range(200)])
    )
    assert len(re.findall("0x0000[0-9a-f]{8}(?![0-9a-f])", shown(scattered, kind))) == 10  # display.min_rows


def test_the_bits_of_a_run_flipped_in_all_of_its_rows() -> None:
    if "saved_dirty" not in kernel.running().features:
        pytest.skip("needs a kernel with SAVED_DIRTY (6.6)")
    # What the kernel makes of pages that it write-protects: the first was dirty, and stays so elsewhere.
    clean = [page(i, 0x27) for i in range(2, 101)]
    after = [page(1) & ~(RW | DIRTY) | 1 << 58, *[entry & ~RW for entry in clean]]
    found = pages(page(1), *clean).diff(pages(*after))
    assert found["change"].tolist() == ["write-protected"] * 100
    assert found.runs()["entries"].tolist() == [1, 99]
    lines = [" ".join(line.split()) for line in repr(found).splitlines()[2:4]]
    assert lines[0].endswith("-rw -dirty +saved_dirty write-protected")
    assert lines[1].endswith(f"{page(2, 0x27) & ~RW:#018x} -rw write-protected")


def test_other_frames_and_places_in_swap_do_not_end_a_run() -> None:
    before, places = [page(i) for i in range(1, 33)], [swap(7 * i) for i in range(32)]
    for one, other in ((before, places), (places, before), (before, [page(999 - i) for i in range(32)])):
        assert len(pages(*one).diff(pages(*other)).runs()) == 1


def test_bits_have_the_names_that_they_have_where_memory_is_encrypted() -> None:
    bit = 1 << 51
    before, after = (made((START, "pte", [raw]), encryption_mask=bit) for raw in (page(5) | bit, page(5)))
    found = before.diff(after)
    assert found.attrs["encryption_mask"] == bit
    assert "-encrypted" in repr(found)
    assert "-encrypted" in repr(found.runs())
    assert "pfn " not in repr(found).splitlines()[2]


@pytest.mark.parametrize(
    "part",
    [
        lambda found: found[found["size"] > 0],
        lambda found: found[["vaddr", "change"]],
        lambda found: found.iloc[:0],
        lambda found: found.runs(),
        lambda found: pd.concat([found, found]),
        lambda found: found.assign(before="<x>", note="<y>"),
        lambda found: pickle.loads(pickle.dumps(found)),  # noqa: S301  (our own)
    ],
)
def test_whatever_pandas_makes_of_a_difference_is_shown(part: Any) -> None:
    found = part(pages(page(5), 0).diff(pages(page(6), 0)))
    assert type(found).__name__ == "PteDiff"
    assert repr(found)
    assert "<x>" not in str(found._repr_html_())
    assert "<y>" not in str(found._repr_html_())


@pytest.mark.parametrize("call", ["to_string", "to_html"])
def test_pandas_own_methods_print_hex_too(call: str) -> None:
    text = str(getattr(pages(page(5)).diff(pages(page(6))), call)())
    for word in (f"{START:#014x}", "4 KiB", f"{page(5):#018x}", f"{page(5) ^ page(6):#018x}"):
        assert word in text


def test_without_page_frame_numbers_it_is_not_said_that_nothing_changed() -> None:
    of = kernel.running()
    raw, codes = np.array([page(5), page(6)], np.uint64), np.full(2, LEVELS.index("pte"), np.int8)
    hide(raw, codes, of)
    spans = np.array([(START, PAGE, 2, LEVELS.index("pte"))], SPAN)
    hidden = pte_frame.build(
        Entries(raw, spans, "x86_64", "helper", address_bits=AddressBits(frames_hidden=True)), of, pid=1
    )
    for before, after in ((hidden, hidden), (pages(page(7), page(8)), hidden), (hidden, pages(page(7), page(8)))):
        assert repr(before.diff(after)) == "nothing that is known without page frame numbers has changed"


@pytest.mark.parametrize("kind", ["text", "html"])
def test_one_entry_is_not_entries(kind: str) -> None:
    found = pages(page(5)).diff(pages(page(5) & ~RW))
    assert "1 of 1 entry changed: 1 write-protected" in shown(found, kind)
    assert "[1 row x 15 columns]" in shown(found, kind)
    assert "1 entry changed" in shown(pages(page(5), page(6)).diff(pages(page(5) & ~RW, page(7))).iloc[:1], kind)


@pytest.mark.parametrize("kind", ["text", "html"])
def test_several_are_told_in_the_plural(kind: str) -> None:
    first = pages(page(1), page(2))
    assert "1 of 2 entries changed: 1 new page frame" in shown(first.diff(pages(page(7), page(2))), kind)
    assert "2 of 2 entries changed: 2 new page frames" in shown(first.diff(pages(page(7), page(8))), kind)


def test_the_entry_before_gives_way_where_nothing_else_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pages(page(5), 0).diff(pages(page(5, 0x27), page(3)))
    for columns in (60, 70, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        text = repr(found)
        assert max(map(len, text.splitlines())) <= columns
        assert (f"{page(5):#018x}" in text) == (columns > 60)
        assert ("no room here for" in text and " before" in text) or columns > 60
        assert f"{page(5, 0x27):#018x}" in text
