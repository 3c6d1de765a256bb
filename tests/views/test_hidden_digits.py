"""Digits of entries that were hidden are question marks; those that were not are what they were."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from differences import SIZES
from machines import X86_START, arm, x86

from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.formats.describe import describe
from pte_magic.formats.hidden import hide, taken
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS
from pte_magic.views import one_address
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from pte_magic import PteFrame

# A page, a huge page, a place in swap, a guard (a marker), nothing; all of x86-64.
RAW = [0x8000000153016067, 0x80000001530000E7, 0x07FFFFFFFFFFFC00, 0xFFFFFFFFFFFFF600, 0]


def hidden() -> PteFrame:
    raw = np.array(RAW, np.uint64)
    level = np.array([LEVELS.index("pte" if at != 1 else "pmd") for at in range(len(raw))], np.int8)
    of = kernel.of_release("x86_64", address_bits=AddressBits(frames_hidden=True))
    hide(raw, level, of)
    spans = np.array([(X86_START + (at << 21), SIZES[LEVELS[one]], 1, one) for at, one in enumerate(level)], SPAN)
    return pte_frame.build(Entries(raw, spans, "x86_64", "bpf", address_bits=of.address_bits), of, pid=1)


@pytest.mark.parametrize("kind", ["text", "html"])
def test_hidden_digits_are_question_marks(kind: str) -> None:
    shown = repr(hidden()) if kind == "text" else str(hidden()._repr_html_())
    entries = re.findall(r"\b0x[0-9a-f?]{16}\b", shown)
    assert entries[:5] == [  # HTML has all columns once more, behind a click
        "0x800??????????067",  # bits 12 to 51 are the page frame number
        "0x800?????????00e7",  # its lowest bits are no part of it
        "0x?????????????e00",  # bits 9 to 58 are the offset, 59 to 63 the device
        "0xfffffffffffff600",
        "0x0000000000000000",
    ]
    assert set(entries[5:]) <= set(entries[:5])


@pytest.mark.parametrize("frame", [x86(), arm()])
def test_nothing_is_marked_where_nothing_is_hidden(frame: PteFrame) -> None:
    assert "0x" in repr(frame)
    assert "?" not in repr(frame)


def test_the_column_keeps_its_numbers() -> None:
    assert hidden()["entry"].iloc[0] == 0x8000000000000067


def test_what_was_taken_is_what_hiding_changes() -> None:
    """Two entries that differ only in what is taken are the same when it is hidden, and others are not."""
    of = kernel.of_release("x86_64", address_bits=AddressBits(frames_hidden=True))
    level = np.full(len(RAW), LEVELS.index("pte"), np.int8)
    raw = np.array(RAW, np.uint64)
    hide(raw, level, of)
    bits = taken(raw, level, of)
    assert ((raw ^ np.array(RAW, np.uint64)) & ~bits == 0).all()


def test_the_text_of_one_address_has_question_marks_too() -> None:
    frame = hidden().iloc[:1]
    of = kernel.of_release("x86_64", address_bits=AddressBits(frames_hidden=True))
    raw, level = frame["entry"].to_numpy(np.uint64), np.array([LEVELS.index("pte")], np.int8)
    values = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}
    leaf = describe(int(raw[0]), "pte", of, covers=4096)
    shown = one_address.text(values, leaf, 80, taken(raw, level, of).tolist())
    assert re.findall(r"\b0x[0-9a-f?]{16}\b", shown) == ["0x800??????????067"] * 2
    assert re.search(r"51:12  pfn +\?  hidden: ", shown)
    assert "0x0 " not in shown.partition("pfn ")[2].partition("\n")[0]
