"""Raw entries in all forms in which people have them, and one line about what is none."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pte_magic
from pte_magic.formats.registry import FORMATS

E = 0x8000000153016067
words = st.integers(0, (1 << 64) - 1)


@given(st.lists(words, min_size=1, max_size=9))
def test_every_form_keeps_every_bit(raw: list[int]) -> None:
    forms: list[Any] = [
        raw, tuple(raw), np.array(raw, np.uint64), np.array(raw, ">u8"), np.array(raw, object), array("Q", raw),
        memoryview(array("Q", raw)), pd.Series(raw, dtype="UInt64"), pd.Series(raw, dtype="uint64"),
        pd.Index(raw, dtype="uint64"), pd.Series(raw, dtype=object), pd.array(raw, dtype="UInt64"),
        np.array([raw], np.uint64).T, np.ma.masked_array(np.array(raw, np.uint64)), [np.uint64(value) for value in raw],
        pd.Series(raw, dtype="UInt64", index=range(5, 5 + len(raw))),
    ]  # fmt: skip
    for form in forms:
        assert pte_magic.decode(form, arch="x86_64")["entry"].tolist() == raw


@pytest.mark.parametrize("small", [np.uint8(5), np.int64(5), np.array(5), 5, np.array([5], np.int8), pd.Index([5])])
def test_small_integers_are_entries(small: Any) -> None:
    assert pte_magic.decode(small)["entry"].tolist() == [5]


@pytest.mark.parametrize(
    "empty", [[], (), np.array([]), np.array([], np.uint64), pd.Series([], dtype="UInt64"), range(0)]
)
def test_nothing_is_a_frame_without_rows(empty: Any) -> None:
    assert len(pte_magic.decode(empty)) == 0


REFUSED: list[tuple[Any, str]] = [
    (-1, "-1 is"), (1 << 64, "18446744073709551616 is"), (10**60, "…"),
    (10**99, "a number of 329 bits is"), (np.int64(-3), "-3 is"), (1.0, "1.0 is"),
    (np.float64(3), "3.0 is"), (float("inf"), "inf is"), (True, "True is"), (np.True_, "True is"), ("0x67", "'0x67'"),
    (None, "None is"), (pd.NA, "<NA> is"), (pd.NaT, "a NaTType is"), (1j, "1j is"), ({1}, "a set is"),
    ({}, "a dict is"), ([1.5, 2], "entry 0 of 2: 1.5 is"),
    (np.datetime64(1, "s"), "a datetime"), (np.timedelta64(1, "s"), "a timedelta"), (pd.Timestamp(1), "a Timestamp is"),
    (object(), "an object is"), (pte_magic, "a module is"), ([1, "2"], "entry 1 of 2: '2' is"),
    ([1, [2]], "entry 1 of 2: a list is"), ([1, -2], "entry 1 of 2: -2 is"), ([True, 1], "entry 0 of 2: True is"),
    (np.array([1, -2]), "entry 1 of 2: -2 is"), (np.array([1.0]), "1.0 is"), (np.array(["1"]), "'1' is"),
    (np.array([True]), "True is"), (pd.Series(["a"]), "'a' is"), (pd.Series([0.5, 1]), "entry 0 of 2: 0.5 is"),
    (iter([1]), "a list_iterator is"), (np.array([0j]), "0j is"),
    ([1, 1 << 64], "entry 1 of 2: 18446744073709551616"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "begins"), REFUSED, ids=[str(at) for at in range(len(REFUSED))])
def test_what_is_not_an_entry_is_one_line_that_names_it(value: Any, begins: str) -> None:
    with pytest.raises(pte_magic.PteMagicError) as caught:
        pte_magic.decode(value)
    (line,) = str(caught.value).splitlines()
    assert begins in line
    assert line.endswith("is not a 64-bit entry; type a number from 0 to 0xffffffffffffffff")
    assert len(line) < 180


@pytest.mark.parametrize(
    "holes",
    [pd.Series([E, None], dtype="UInt64"), pd.array([E, pd.NA], dtype="UInt64"), [E, None], np.array([E, None]),
     np.ma.masked_array([E, 1], mask=[False, True], dtype=np.uint64), pd.Series([E, pd.NA], dtype=object)],
)  # fmt: skip
def test_missing_entries_are_named(holes: Any) -> None:
    with pytest.raises(
        pte_magic.PteMagicError, match=r"^entry 1 of 2 is missing; leave such rows out, with dropna\(\)$"
    ):
        pte_magic.decode(holes)


def test_a_frame_and_bytes_say_what_to_type() -> None:
    with pytest.raises(
        pte_magic.PteMagicError, match=r"^a PteFrame is not a list of entries; name its column: frame.entry$"
    ):
        pte_magic.decode(pte_magic.decode([1, 2]))
    with pytest.raises(pte_magic.PteMagicError, match=r"^bytes is not a list of entries; type np.frombuffer\("):
        pte_magic.decode(b"\1" * 8)


@pytest.mark.parametrize("value", [np.uint64(E), np.array(E, np.uint64), pte_magic.decode(E).entry[0]])
def test_a_picture_takes_any_integer(value: Any) -> None:
    assert pte_magic.BitField(value).entry == E


@pytest.mark.parametrize("level", ["pt", "PTE", "", "pte ", None, 4, 1.5, ["pte"], b"pte", True, pd.NA, object()])
def test_a_level_that_does_not_exist_is_one_line(level: Any) -> None:
    for call in (lambda: pte_magic.decode([1, 2], level=level), lambda: pte_magic.BitField(1, level)):
        with pytest.raises(pte_magic.PteMagicError) as caught:
            call()
        (line,) = str(caught.value).splitlines()
        assert "type one" in line


def test_each_entry_may_have_a_level() -> None:
    entries, levels = [E, 0x80000002892000E7, 0x153016067], ["pte", "pmd", "pud"]
    forms: list[Any] = [levels, tuple(levels), np.array(levels), pd.Series(levels), pd.Series(levels, dtype="category")]
    for form in forms:
        found = pte_magic.decode(entries, level=form, arch="x86_64")
        assert found["level"].tolist() == levels
        assert found["state"].tolist() == ["present", "present", "table"]
        assert found["pfn"].tolist() == [0x153016, 0x289200, 0x153016]
    with pytest.raises(
        pte_magic.PteMagicError, match=r"^3 levels for 2 entries; type one level for all, or one for each$"
    ):
        pte_magic.decode([1, 2], level=levels)
    with pytest.raises(
        pte_magic.PteMagicError, match=r"^level 'pmt' does not exist; type one of pgd, p4d, pud, pmd, pte$"
    ):
        pte_magic.decode([1, 2], level=["pte", "pmt"], arch="x86_64")
    with pytest.raises(pte_magic.PteMagicError, match=r"^level 'pmd' does not exist; type one of pgd, pte$"):
        pte_magic.decode(1, level="pmd", arch="x86_32")  # which has two levels


@pytest.mark.parametrize(
    ("arch", "name"),
    [("x86-64", "x86_64"), ("AMD64", "x86_64"), ("x64", "x86_64"), ("AArch64", "arm64_4k"), ("arm64-16k", "arm64_16k"),
     ("i586", "x86_32"), ("X86_PAE", "x86_pae"), (np.str_("arm64"), "arm64_4k")],
)  # fmt: skip
def test_architectures_have_several_names(arch: str, name: str) -> None:
    assert pte_magic.decode(1, arch=arch).attrs["format"].startswith(name + " ")


@pytest.mark.parametrize("arch", ["vax", "", "arm", "x86", 64, ["x86_64"], {}, True, pd.NA, b"x86_64", "y" * 999])
def test_an_architecture_that_is_not_known_is_one_line(arch: Any) -> None:
    with pytest.raises(pte_magic.PteMagicError) as caught:
        pte_magic.decode(1, arch=arch)
    (line,) = str(caught.value).splitlines()
    assert line.endswith(f" does not exist; type one of {', '.join(FORMATS)}")


def test_a_level_may_be_an_array_of_one() -> None:
    assert pte_magic.decode(5, level=np.array("pte"))["level"].tolist() == ["pte"]
    assert pte_magic.decode([5, 6], level=np.array("pmd", object))["level"].tolist() == ["pmd", "pmd"]
    wrong: tuple[Any, ...] = (np.array(3), np.array(None), np.array("pgt"), 5, str)
    for bad in wrong:
        with pytest.raises(pte_magic.PteMagicError, match="does not exist; type one of pgd"):
            pte_magic.decode(5, level=bad)
