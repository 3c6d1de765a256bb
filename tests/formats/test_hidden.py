"""Entries without their page frames: what is left is what was there, and no number of a frame is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kernel_macros import ALL, KERNELS, LEAF_MASK, PRESENT, PROTNONE, PSE, leaf, mkinvalid, swap_entry

import pte_magic
from pte_magic.api import pte_frame
from pte_magic.formats import decode, kernel
from pte_magic.formats.describe import describe
from pte_magic.formats.hidden import hide
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.formats.kernel import Kernel

PLACES = ["pfn", "swap_type", "swap_offset", "entry", "format"]
kernels = st.sampled_from([*KERNELS.values()])
HIDDEN = AddressBits(frames_hidden=True)
entries = st.one_of(
    st.integers(0, ALL),
    st.integers(0, ALL).map(lambda entry: entry | PRESENT),
    st.integers(0, ALL).map(lambda entry: entry & ~PRESENT | PROTNONE),
    st.integers(0, ALL).map(lambda entry: entry & ~(PRESENT | PROTNONE)),
    st.just(0),
)
places = st.lists(st.tuples(entries, st.sampled_from(LEVELS)), min_size=1, max_size=9)
offsets = st.integers(0, (1 << 50) - 2)  # the last one, inverted, of device 0 would be an empty entry
page_frames = st.integers(1, (1 << 40) - 1)


def hidden(given_: Sequence[tuple[int, str]], of: Kernel) -> tuple[np.ndarray, np.ndarray]:
    raw = np.array([entry for entry, _ in given_], np.uint64)
    codes = np.array([LEVELS.index(level) for _, level in given_], np.int8)
    hide(raw, codes, of)
    return raw, codes


def table(raw: np.ndarray, codes: np.ndarray, of: Kernel, *, is_hidden: bool) -> pd.DataFrame:
    of = replace(of, address_bits=AddressBits(frames_hidden=is_hidden))
    return pd.DataFrame(pte_frame.of_columns(decode.columns(raw, codes, of), codes, of))


@given(places, kernels)
def test_all_but_the_place_stays(given_: list[tuple[int, str]], of: Kernel) -> None:
    raw, codes = hidden(given_, of)
    before = table(np.array([entry for entry, _ in given_], np.uint64), codes, of, is_hidden=False)
    after = table(raw, codes, of, is_hidden=True)
    pd.testing.assert_frame_equal(after.drop(columns=PLACES), before.drop(columns=PLACES))
    assert after["pfn"].isna().all()
    # Failed swap-ins of 6.1, of a type of their own, hold a page frame, not what they mark.
    marks = (before["state"] == "marker").to_numpy() & (before["kind"] != "swapin_error").fillna(value=True).to_numpy()
    assert (after["swap_offset"].notna() == marks).all()
    assert (after["swap_offset"][marks] == before["swap_offset"][marks]).all()
    special = before["swap_type"].notna() & (before["state"] != "swap")
    assert (after["swap_type"].notna() == special).all()
    assert (after["swap_type"][special] == before["swap_type"][special]).all()


@given(places, kernels)
def test_it_is_the_same_done_twice(given_: list[tuple[int, str]], of: Kernel) -> None:
    raw, codes = hidden(given_, of)
    again = raw.copy()
    hide(again, codes, of)
    assert (again == raw).all()


@given(page_frames, page_frames, st.sampled_from(["pte", "pmd", "pud"]), st.booleans(), kernels)
def test_nothing_of_a_frame_is_left(one: int, other: int, level: str, is_present: bool, of: Kernel) -> None:
    flags = (PRESENT if is_present else PROTNONE) | (PSE if level != "pte" else 0) | 0x66
    both = [leaf(number & LEAF_MASK[level] >> 12, flags, level) for number in (one, other)]
    raw, _ = hidden([(entry, level) for entry in both], of)
    assert raw[0] == raw[1]
    if level == "pmd" and is_present:
        raw, _ = hidden([(mkinvalid(entry), level) for entry in both], of)
        assert raw[0] == raw[1]


@given(st.integers(0, 31), st.tuples(offsets, offsets), st.integers(0, 31), kernels)
@example(31, (1, 2), 31, KERNELS["6.1-4"])
def test_nothing_of_a_swap_location_is_left(kind_of: int, places_: tuple[int, int], other: int, of: Kernel) -> None:
    states = ["frame" if kind == "swapin_error" else state for state, kind in of.swap.types]
    second = other if states[kind_of] == states[other] == "swap" else kind_of
    raw, _ = hidden([(swap_entry(kind_of, places_[0]), "pte"), (swap_entry(second, places_[1]), "pte")], of)
    assert (raw[0] == raw[1]) == (states[kind_of] != "marker" or places_[0] == places_[1])
    assert raw.all()  # an empty entry would be another state


@given(st.integers(0, 31), offsets, kernels)
def test_a_frame_that_is_hidden_is_not_told_in_words(kind_of: int, offset: int, of: Kernel) -> None:
    of = replace(of, address_bits=HIDDEN)
    for entry in (swap_entry(kind_of, offset), leaf(offset >> 10, 0x67), leaf(offset >> 10, 0x166)):
        raw, _ = hidden([(entry, "pte")], of)
        found = describe(int(raw[0]), "pte", of)
        if found.state != "marker":
            assert {"pfn", "offset"} & {part.name for part in found.parts if part.says == "hidden"}
        assert "0x" not in found.says


@pytest.mark.parametrize("count", [1, 1000])
def test_entries_that_all_map_pages_are_no_exception(count: int) -> None:
    of = KERNELS["6.18-4"]
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 1 << 64, count, np.uint64) | np.uint64(1)
    fast, slow = raw.copy(), np.append(raw, np.uint64(0))
    hide(fast, np.full(count, LEVELS.index("pte"), np.int8), of)
    hide(slow, np.full(count + 1, LEVELS.index("pte"), np.int8), of)
    assert (fast == slow[:-1]).all()


def test_an_entry_of_a_frame_is_decoded_as_the_frame_was() -> None:
    """A column keeps the attrs of its frame; a number, or an option, says nothing of it."""
    raw, _ = hidden([(0x8000000153016067, "pte"), (0x2067, "pte")], kernel.running())
    spans = np.array([(1 << 30, 1 << 12, 2, LEVELS.index("pte"))], SPAN)
    entries = Entries(raw, spans, "x86_64", "helper", address_bits=HIDDEN)
    whole = pte_frame.build(entries, kernel.running(), pid=1)
    found = pte_magic.decode(whole.entry)
    assert whole["pfn"].isna().all()
    assert found["pfn"].isna().all()
    for name in found.columns:
        pd.testing.assert_series_equal(found[name], whole[name], check_names=False)
    assert found.attrs == {name: whole.attrs[name] for name in ("format", "frames_hidden")}
    assert pte_magic.decode(whole.entry, arch="x86_64")["pfn"].tolist() == [0, 0]
    assert pte_magic.decode(whole.entry.tolist())["pfn"].tolist() == [0, 0]
    assert pte_magic.decode(pd.Series(raw), level=whole["level"])["pfn"].tolist() == [0, 0]


def test_entries_of_another_machine_are_decoded_as_there() -> None:
    there = kernel.of_release("arm64_4k")
    whole = pte_magic.decode([0x0060000153016F43, 0], arch="arm64")
    found = pte_magic.decode(whole.entry)
    assert found.attrs["format"] == whole.attrs["format"] == there.words
    pd.testing.assert_frame_equal(found, whole)
    secret = pte_magic.decode([0x67 | 1 << 51], encryption_mask=1 << 51)
    pd.testing.assert_frame_equal(pte_magic.decode(secret.entry), secret)
    assert pte_magic.decode(secret.entry)["pfn"].tolist() == [0]
