"""The picture of an entry: as text, as HTML and in the widget it says the same, and whatever is typed is decoded."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import playwright
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from ipywidgets import IntSlider, dlink

import pte_magic
from pte_magic import PteMagicError
from pte_magic.api.pte_frame import build
from pte_magic.formats import kernel
from pte_magic.formats.describe import describe
from pte_magic.linux.geometry import LEVELS
from pte_magic.text import typed_numbers
from pte_magic.views import entry_picture, entry_text
from pte_magic.views.bits import BitField
from pte_magic.views.markup import STATIC
from pte_magic.walkers.entries import SPAN, Entries

SVG = "{http://www.w3.org/2000/svg}"
entries = st.integers(0, (1 << 64) - 1)
levels = st.sampled_from(LEVELS)


class Table(HTMLParser):
    """Reads the cells of the table of fields, and the bits of the picture."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.bits = ""
        self._row = ""
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self._row = dict(attrs).get("class") or "field"
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data
        if self._row == "pte-bit":
            self.bits += data


@given(entries, levels)
def test_text_and_html_say_the_same_of_every_field(entry: int, level: str) -> None:
    found = describe(entry, level, kernel.running())
    read = Table(entry_picture.html(found))
    fields = read.rows[-len(found.parts) :]
    lines = entry_text.text(found).splitlines()[2:][: len(found.parts)]
    sources = {part.source for part in found.parts} - {""}
    assert len(entry_text.text(found).splitlines()) == 2 + len(found.parts) + len(sources)
    assert read.bits == f"{entry:064b}"
    for part, cells, line in zip(found.parts, fields, lines, strict=True):
        bits, name, value, meaning, by = cells
        assert bits == part.bits
        assert name == (part.name or "-")
        assert int(re.split(r"[: ]", value)[0], 0) == part.value
        assert meaning == part.meaning
        words = line.split()
        assert words[:2] == [bits, name]
        assert int(words[2], 0) == part.value
        assert meaning in line
        assert by in line
    assert found.says in entry_text.text(found).splitlines()[0]
    shown = re.sub("<[^>]+>", "", entry_picture.html(found).rpartition('<p class="pte-sources">')[2])
    for source in sources:  # for whoever has no mouse to rest on a bit
        names = ", ".join(part.name for part in found.parts if part.source == source)
        assert f"{source}: {names}" in entry_text.text(found).splitlines()
        assert f"{source}: {names}" in shown


@given(entries, entries)
def test_what_differs_is_pointed_at_in_words(before: int, after: int) -> None:
    found = describe(after, "pte", kernel.running())
    differ = before ^ after
    changed = [bool(differ >> part.low & (1 << part.width) - 1) for part in found.parts]
    fields = Table(entry_picture.html(found, differ=differ)).rows[-len(found.parts) :]
    assert [cells[2].endswith(" changed") for cells in fields] == changed
    lines = entry_text.text(found, differ=differ).splitlines()[2:][: len(changed)]
    assert [line.startswith(">") for line in lines] == changed


def test_decoding_follows_the_entry() -> None:
    field = BitField(0x8000000153016067)
    assert "present, maps 4 KiB at physical address 0x153016000" in field.text()
    before = field._content
    field.entry &= ~1
    assert "unknown (not_present), not a swap entry" in field.text()
    field.entry &= ~0x60  # neither accessed nor dirty: these bits are clear in swap entries
    assert "swap, swapped out" in field.text()
    assert field._content != before
    assert "> " in field.text()
    field.entry = 0x8000000153016067
    assert field._content == before
    field.level = "pmd"
    assert field.description.state == "table"


def test_the_browser_gets_hex_and_may_send_it() -> None:
    field = BitField(0xFFFFFFFFFFFFFFFE)
    assert field.get_state("entry") == {"entry": "0xfffffffffffffffe"}
    field.set_state({"entry": "0x0000000000000001"})
    assert field.entry == 1
    assert BitField(np.uint64(1 << 63)).entry == 1 << 63
    for typed, entry in (
        ("800fffffa7598063", 0x800FFFFFA7598063),
        ("0x67", 0x67),
        ("00400000", 0x400000),
        ("67", 0x67),  # as of %pte --decode
        ("106923061", 0x106923061),
        ("8000000153016066", 0x8000000153016066),
        ("18446744073709551615", (1 << 64) - 1),  # too long for hex
        ("1_000", 1000),
    ):
        field.entry = typed  # type: ignore[assignment]  # the trait reads it
        assert field.entry == entry


@pytest.mark.parametrize("value", [-1, 1 << 64, "zork", 1.5, None])
def test_what_is_no_entry_is_refused_and_nothing_changes(value: object) -> None:
    field = BitField(5)
    with pytest.raises(traitlets.TraitError, match="0xffffffffffffffff"):
        field.entry = value  # type: ignore[assignment]  # what is tested
    assert field.entry == 5


@pytest.mark.parametrize("value", [-1, 1 << 64, "0x5", 1.5, None, True])
def test_a_bit_field_of_no_entry_is_one_line(value: object) -> None:
    with pytest.raises(PteMagicError, match=re.escape(f"{value!r} is not a 64-bit entry; type a number")):
        BitField(value)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(PteMagicError, match="level 'pgt' does not exist; type one of pgd"):
        BitField(5, "pgt")


def test_a_slider_drives_it() -> None:
    frame = pte_magic.decode([0x67, 0x1067, 0x2067])
    field, slider = BitField(int(frame["entry"][0])), IntSlider(min=0, max=2)
    dlink((slider, "value"), (field, "entry"), lambda row: int(frame["entry"][row]))
    slider.value = 2
    assert field.entry == 0x2067
    assert "physical address 0x2000" in field.text()


def test_a_notebook_keeps_text_and_html_and_no_view_of_the_widget() -> None:
    data, _ = BitField(0x67)._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"}
    assert data["text/plain"] == BitField(0x67).text()
    assert BitField(0x67).html() in data["text/html"]
    assert "<button" not in data["text/html"]
    assert not re.search(r"https?://|<script", data["text/html"])


def test_bits_of_a_frame_are_of_the_row_asked_for() -> None:
    frame = pte_magic.decode([0x67, 0x1067])
    assert [frame.bits(row).entry for row in (0, 1, -1)] == [0x67, 0x1067, 0x1067]
    assert frame.bits().entry == 0x67
    assert pte_magic.decode([0x3067, 0x80000001000000E7], level="pmd").bits().entry == 0x80000001000000E7
    upper = np.array([(0, 1 << 39, 1, 0), (0, 1 << 30, 1, 2), (0, 1 << 21, 1, 3), (0, 4096, 2, 4)], SPAN)
    raw = Entries(np.array([0x1067, 0x2067, 0x3067, 0x5067, 0x6067], np.uint64), upper, "x86_64", "bpf")
    assert build(raw, kernel.running(), pid=1).bits().entry == 0x5067  # of a range with its tables, the first page
    assert build(raw, kernel.running(), pid=1)[:2].bits().entry == 0x1067
    with pytest.raises(PteMagicError, match="row 2 does not exist; the frame has 2"):
        frame.bits(2)


@given(entries, entries)
def test_the_drawing_has_the_bits_and_the_names_of_the_fields(entry: int, other: int) -> None:
    found = describe(entry, "pte", kernel.running())
    image = re.search(
        r'<img class="pte-drawn" alt="" [^>]*base64,([^"]*)">', entry_picture.html(found, differ=entry ^ other)
    )
    assert image
    assert 'class="pte-drawn"' not in entry_picture.html(found, editable=True)
    svg = ET.fromstring(base64.b64decode(image[1]))  # noqa: S314  (it is our own)
    texts = [(each.get("x", "").split(), each.get("y", ""), each.text or "") for each in svg.iter(f"{SVG}text")]
    bits = {
        (int(y), int(x)): digits[at] for xs, y, digits in texts if set(digits) <= {*"01"} for at, x in enumerate(xs)
    }
    lines = sorted({y for y, _ in bits if sum(line == y for line, _ in bits) == 32})
    assert "".join(bits[y, x] for line in lines for y, x in sorted(bits) if y == line) == f"{entry:064b}"
    names = [text.split() for _, _, text in texts if not text.isdigit()]
    assert sorted(name[0] for name in names) == sorted(part.name for part in found.parts if part.name)  # once each
    values = {part.name: part.value for part in found.parts if part.width > 1}
    assert all(int(value[0], 0) == values[name] for name, *value in names if value)
    assert len(list(svg.iter(f"{SVG}circle"))) == (entry ^ other).bit_count()


@given(entries)
def test_a_field_that_goes_on_in_another_line_is_named_once_and_open_there(entry: int) -> None:
    """Lines have 16 bits in HTML: the frame number, of bits 51 to 12, is in four of them."""
    html = entry_picture.html(describe(entry & ~1 | 1, "pte", kernel.running()), editable=True)
    names = re.findall(r'<tr class="pte-name">(.*?)</tr>', html)
    cells = [
        re.findall(r'<td class="pte-cpu([^"]*)" colspan="(\d+)" title="pfn[^>]*>(.*?)</td>', line) for line in names
    ]
    assert [(open_, int(bits)) for line in cells for open_, bits, _ in line] == [
        (" pte-goes-on-right", 4),
        (" pte-goes-on-left pte-goes-on-right", 16),
        (" pte-goes-on-left pte-goes-on-right", 16),
        (" pte-goes-on-left", 4),
    ]
    number = (entry & 0x000F_FFFF_FFFF_F000) >> 12
    assert [name for line in cells for *_, name in line] == ["", f"<span>pfn {number:#x}</span>", "", ""]


TYPED = [
    "67", "106923061", "8000000153016066", "0x67", "00400000", "1_000", "5", "0", "153016e7",
    "800fffffa7598063", "0b101", "0b000001", "0b2f0000", "0o17",
    "18446744073709551615", "18446744073709551616", "99999999999999999", "4294967296",
    "12345678", "123456789", "00153016025", "-5", "zork", "0x", "_",
]  # fmt: skip


@pytest.mark.parametrize("width", [64, 32])
def test_the_box_reads_numbers_as_the_magic_does(width: int) -> None:
    node = Path(playwright.__file__).with_name("driver") / "node"  # what drives the browser brings its own
    parse = (STATIC / "bits.js").read_text(encoding="utf-8").partition("function parse")[2].partition("\n}\n")[0]
    code = f"function parse{parse}\n}}\nfor (const text of {json.dumps(TYPED)}) {{ const found = parse(text, {width});"
    code += " console.log(JSON.stringify(found && [found.number.toString(), found.note])) }"
    done = subprocess.run([node, "-e", code], capture_output=True, text=True, check=True)
    for text, line in zip(TYPED, done.stdout.splitlines(), strict=True):
        number = typed_numbers.number(text, digits_are_hex=True, bits=width)
        is_entry = number is not None and not number.value >> width
        expected = [str(number.value), number.note.partition("; ")[0]] if number and is_entry else None
        assert json.loads(line) == expected, text


class Broken:
    def __index__(self) -> int:
        message = "no number today"
        raise RuntimeError(message)


@pytest.mark.parametrize(
    "row", [Broken(), "x" * 5000, 10**5000, 5, pd.NA, pd.Series([0, 1])], ids=lambda row: type(row).__name__
)
def test_what_is_not_a_row_is_one_short_line(row: Any) -> None:
    with pytest.raises(PteMagicError, match=r"^row .* is not a row number|^row .* does not exist") as caught:
        pte_magic.decode([0x67, 0x1067]).bits(row)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_number_that_raises_is_not_an_entry() -> None:
    asks: tuple[Any, ...] = (BitField, pte_magic.decode)
    for ask in asks:
        with pytest.raises(PteMagicError, match="is not a 64-bit entry"):
            ask(Broken())
    field = BitField(5)
    with pytest.raises(traitlets.TraitError, match="a Broken"):
        field.entry = Broken()  # type: ignore[assignment]  # what is tested
