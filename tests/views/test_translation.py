"""One address on its way through the tables: the indices are the address, and each table is where its entry says."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import needs_root
from handmade import HUGE, HUGEPAGE, NOHUGEPAGE, PAGE, PM_PFN, NewMap, words, write

import pte_magic
from pte_magic import PteFrame, PteMagicError
from pte_magic.api import pte_frame as frame
from pte_magic.formats import kernel
from pte_magic.linux import geometry
from pte_magic.linux.geometry import LEVELS
from pte_magic.linux.hardware import user_limit
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from pathlib import Path

    from pte_magic.views.translation import Translation

pytestmark = needs_root


def shown(address: int) -> Translation:
    return pte_magic.walk(address).translation()


def test_the_pieces_are_the_address(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE) + 0x123
    write(address & -PAGE)
    found = shown(address)
    assert found.address == address
    assert sum(piece.value << piece.low for piece in found.pieces) == address
    assert sum(piece.width for piece in found.pieces) == 64
    assert [piece.name for piece in found.pieces if piece.name not in {"sign", "offset", "p4d"}] == [
        *("pgd", "pud", "pmd", "pte")
    ]
    assert found.pieces[-1].value == 0x123


@pytest.mark.parametrize("advice", [NOHUGEPAGE, HUGEPAGE])
def test_it_ends_at_the_physical_address(new_map: NewMap, advice: int) -> None:
    address = new_map(HUGE, advice=advice) + 5 * PAGE + 7
    write(address & -HUGE, HUGE)
    found = shown(address)
    frame = int(words(address & -PAGE)[0]) & PM_PFN
    assert found.physical == frame * PAGE + 7
    size = "4 KiB" if advice == NOHUGEPAGE else "2 MiB"
    assert found.headline == f"virtual address {address:#x}: physical address {found.physical:#x}, in a page of {size}"
    last = "pte" if advice == NOHUGEPAGE else "pmd"
    assert found.pieces[-2].name == last
    assert found.pieces[-1].value == address % (PAGE if last == "pte" else HUGE)


def test_each_table_is_where_the_entry_before_says(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    frame = pte_magic.walk(address)
    text = frame.translation().text()
    assert "of the page table that CR3 points to" in text
    for table in frame["pfn"][:-1]:
        assert f"of the page table at {int(table) * PAGE:#x}: " in text
    for entry in frame["entry"]:
        assert f"{int(entry):#018x}" in text


def test_html_says_what_the_text_says_and_every_entry_opens(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    found = shown(address)
    plain = re.sub(r"<[^>]+>", "", found.html())
    assert found.headline in plain
    for line in found.text().splitlines()[5:]:
        place, _, says = line.strip().partition(": ")
        assert place.replace("  ", " ") in plain
        assert says in plain
    assert found.html().count("<details>") == len(found.entries) == found.html().count('class="pte-picture"')


def test_where_nothing_is_mapped_it_says_how_far_one_gets() -> None:
    found = shown(user_limit() - PAGE)
    assert found.physical is None
    assert f"ends at {found.entries[-1].level}: empty, nothing is mapped in these" in found.headline


def test_a_frame_of_many_addresses_is_refused() -> None:
    with pytest.raises(PteMagicError, match=r"(rows are|row is) not the translation of one address; type"):
        pte_magic.walk(np.ones(3 * PAGE, np.uint8)).translation()


ADDRESS = 0x0012_3456_789A_B123  # 49 bits of it are in use: of 5 levels
SHIFTS = {4: {"pgd": 39}, 5: {"pgd": 48, "p4d": 39}}


def way(levels: int, address: int, *entries: int) -> PteFrame:
    """Return the entries of an address of a machine whose tables have so many levels."""
    shifts = SHIFTS[levels] | {"pud": 30, "pmd": 21, "pte": 12}
    rows = [
        (address >> shift << shift, 1 << shift, 1, LEVELS.index(name))
        for name, shift in list(shifts.items())[: len(entries)]
    ]
    raw = Entries(np.array(entries, np.uint64), np.array(rows, SPAN), "x86_64", "bpf")
    return frame.build(raw, kernel.running(), pid=1)


@pytest.mark.parametrize("here", [4, 5])
def test_an_address_of_another_machine_is_cut_as_there(monkeypatch: pytest.MonkeyPatch, here: int) -> None:
    monkeypatch.setattr("pte_magic.linux.hardware.levels", lambda: here)
    for levels, address in ((4, ADDRESS & (1 << 47) - 1), (5, ADDRESS)):
        whole = way(levels, address, *[i << 12 | 0x67 for i in range(1, levels + 1)]).translation()
        names = ["pgd", *(["p4d"] if levels == 5 else []), "pud", "pmd", "pte"]
        assert [piece.name for piece in whole.pieces] == ["sign", *names, "offset"]
        assert whole.pieces[1].value == address >> (12 + 9 * (levels - 1)) & 0x1FF
        none = way(levels, address, 0).translation()
        assert [piece.name for piece in none.pieces] == ["sign", "pgd", "offset"]
        assert none.headline.endswith(f"in these {'256 TiB' if levels == 5 else '512 GiB'}")


def test_entries_of_several_addresses_are_no_way_of_one() -> None:
    mixed = way(4, 1 << 40, 0x1067, 0x2067, 0x3067, 0x4067)
    mixed["vaddr"] += np.array([0, 0, 0, HUGE], np.uint64)
    with pytest.raises(PteMagicError, match="these 4 rows are not the translation of one address"):
        mixed.translation()
    assert "bits  field" not in repr(mixed)


@pytest.mark.parametrize(
    ("encoding", "address", "entries", "pieces", "physical"),
    [
        ("x86_32", 0xBFC0_1234, [0x1067, 0x2067], {"pgd": 767, "pte": 1, "offset": 0x234}, 0x2234),
        ("x86_pae", 0xBFC0_1234, [0x1001, 0x2067, 0x3067], {"pgd": 2, "pmd": 510, "pte": 1, "offset": 0x234}, 0x3234),
        (
            "arm64_4k", 0xFFFF_8000_1234, [0x1003, 0x2003, 0x3003, 0xE8_0000_0000_4F43],
            {"sign": 0, "pgd": 511, "pud": 510, "pmd": 0, "pte": 1, "offset": 0x234}, 0x4234,
        ),
        (
            "arm64_16k", 0x8000_0000_C123, [0x4003, 0x8003, 0xC003, 0xF8_0000_0001_0F43],
            {"sign": 0, "pgd": 1, "pud": 0, "pmd": 0, "pte": 3, "offset": 0x123}, 0x1_0123,
        ),
        ("arm64_64k", 1 << 42, [0x4003], {"sign": 0, "pgd": 1, "offset": 0}, None),
    ],
)  # fmt: skip
def test_an_address_of_another_architecture_is_cut_as_there(
    encoding: str, address: int, entries: list[int], pieces: dict[str, int], physical: int | None
) -> None:
    shifts = geometry.shifts(encoding)
    rows = [
        (address >> shift << shift, 1 << shift, 1, LEVELS.index(name))
        for name, shift in list(shifts.items())[: len(entries)]
    ]
    raw = Entries(np.array(entries, np.uint64), np.array(rows, SPAN), encoding, "stap")
    made = frame.build(raw, kernel.running(), pid=1)
    made.attrs["address"] = address
    found = made.translation()
    assert {piece.name: piece.value for piece in found.pieces} == pieces
    assert found.physical == physical
    assert ("block of 2 MiB" in found.headline) == (encoding == "arm64_16k")
    assert found.text().splitlines()[0] == found.headline


def test_words_of_pagemap_have_no_raw_entry_and_the_error_says_so_as_that_of_bits(new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)
    words_only = pte_magic.walk(address, walker="pagemap")
    said = "row 0 has no raw entry: pagemap shows none; pte_magic.doctor() says which walker does"
    for view in (words_only.translation, words_only.bits):
        with pytest.raises(PteMagicError) as caught:
            view()
        assert str(caught.value) == said
    with pytest.raises(PteMagicError, match="this row is not the translation of one address"):
        pte_magic.walk(address, address + PAGE).translation()


def test_it_is_saved_with_the_bits_of_each_entry(tmp_path: Path) -> None:
    found = way(4, 0x5000, *[i << 12 | 0x67 for i in range(1, 5)]).translation()
    found.save(tmp_path / "way.svg")
    svg = (tmp_path / "way.svg").read_text(encoding="utf-8")
    for line in found.text().splitlines():
        assert escape(line) in svg
    assert svg.count(">63</text>") == 4  # the number of the highest bit, above each entry
