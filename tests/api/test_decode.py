"""`pte_magic.decode`: any 64-bit numbers, alone and together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pte_magic
from pte_magic.formats.registry import FORMATS
from pte_magic.linux.geometry import LEVELS

PRESENT, PSE, PROTNONE = 1, 1 << 7, 1 << 8
BOOLEANS = [
    "present", "rw", "user", "accessed", "dirty", "global", "special", "soft_dirty", "uffd_wp", "nx", "saved_dirty",
    "devmap", "encrypted", "swp_exclusive", "file", "mmap_exclusive",
]  # fmt: skip
DTYPES = {
    "level": "category", "entry": "UInt64", "state": "category", "kind": "category", "pfn": "UInt64",
    **dict.fromkeys(BOOLEANS, "boolean"),
    "cache": "category", "pkey": "UInt8", "swap_type": "UInt8", "swap_offset": "UInt64", "format": "category",
}  # fmt: skip


@st.composite
def entries(draw: st.DrawFn) -> int:
    """Draw a number whose bits that decide on its shape are as likely set as not."""
    bits = draw(st.integers(0, (1 << 64) - 1))
    return draw(st.sampled_from([0, bits, bits | 0xFF << 56])) & ~(PRESENT | PSE | PROTNONE) | draw(
        st.sampled_from([0, PRESENT, PSE, PROTNONE, PRESENT | PSE, PROTNONE | PSE, PRESENT | PROTNONE])
    )


def rows(found: pte_magic.PteFrame) -> list[tuple[object, ...]]:
    columns = (found[name].astype(object).where(found[name].notna(), None) for name in found.columns)
    return [*zip(*columns, strict=True)]


@settings(max_examples=50)  # many frames each
@given(st.lists(entries(), max_size=12), st.sampled_from(LEVELS))
def test_entries_are_decoded_together_as_one_by_one(raw: list[int], level: str) -> None:
    together = pte_magic.decode(np.array(raw, np.uint64), level=level)
    assert together.dtypes.astype(str).to_dict() == DTYPES
    assert together["entry"].tolist() == raw
    assert together["level"].tolist() == [level] * len(raw)
    assert rows(together) == [row for entry in raw for row in rows(pte_magic.decode(entry, level=level))]


@given(entries(), st.sampled_from(LEVELS))
def test_an_entry_is_present_if_its_lowest_bit_is_set(entry: int, level: str) -> None:
    found = pte_magic.decode(entry, level=level)
    assert found["present"][0] == bool(entry & PRESENT)
    assert (found["state"][0] == "none") == (entry == 0)
    assert repr(found)


@pytest.mark.parametrize(
    "raw",
    [
        0x8000000153016067,
        np.uint64(0x8000000153016067),
        [0x8000000153016067],
        pd.Series([0x8000000153016067], dtype="UInt64"),
        np.array([[0x8000000153016067, 0], [1, 2]], np.uint64)[:1, :1],
    ],
    ids=["int", "numpy", "list", "Series", "view of a matrix"],
)
def test_numbers_in_any_form_are_decoded(raw: Any) -> None:
    found = pte_magic.decode(raw)
    assert found[["entry", "pfn"]].to_numpy().tolist() == [[0x8000000153016067, 0x153016]]


def test_an_array_that_is_not_contiguous_is_decoded() -> None:
    raw = np.arange(0, 64 << 12, 1 << 12, dtype=np.uint64) | np.uint64(PRESENT)
    assert pte_magic.decode(raw[::-4])["pfn"].tolist() == [*range(63, -1, -4)]


@pytest.mark.parametrize("raw", [-1, 1 << 64, "x", None, [1, -2], object(), float("nan"), 1.5, np.array([-1])])
def test_what_is_no_64_bit_number_is_refused(raw: Any) -> None:
    with pytest.raises(pte_magic.PteMagicError, match=r"^.* is not a 64-bit entry; type a number from 0 to 0xf{16}$"):
        pte_magic.decode(raw)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "pmt"}, "level 'pmt' does not exist; type one of pgd, p4d, pud, pmd, pte"),
        ({"level": "pmd", "arch": "i386"}, "level 'pmd' does not exist; type one of pgd, pte"),
        (
            {"arch": "vax"},
            f"format 'vax' does not exist; type one of {', '.join(FORMATS)}",
        ),
        (
            {"release": "new"},
            "release 'new' is not a release of Linux; type a text such as '6.1', or all of `uname -r`",
        ),
    ],
)
def test_unknown_words_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pte_magic.PteMagicError) as caught:
        pte_magic.decode(1, **options)
    assert str(caught.value) == message


def test_a_list_of_small_and_large_entries_keeps_every_bit() -> None:
    entries = [0, 0x67, 0x8000000153016067, (1 << 64) - 1]
    assert pte_magic.decode(entries)["entry"].tolist() == entries
