"""Frames of entries of other architectures: bits have the names, and pages the sizes, that they have there."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from arm64_macros import MACROS, RDONLY, STEPS, Macros

import pte_magic
from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

ARM, ARM16 = (next(of for of in MACROS if of.encoding == name and of.new) for name in ("arm64_4k", "arm64_16k"))


def table(of: Macros, entries: list[int], level: str = "pte") -> pte_frame.PteFrame:
    """Return a frame of entries side by side, as a walker on such a machine finds them."""
    spans = np.array([(1 << 40, 1 << of.block_shift[level], len(entries), LEVELS.index(level))], SPAN)
    return pte_frame.build(Entries(np.array(entries, np.uint64), spans, of.encoding, "bpf"), kernel.running(), pid=1)


def written(of: Macros, pfn: int) -> int:
    """Return the entry of a page that was written."""
    return STEPS["mkdirty"](of.pfn_pte(pfn, of.protections["rw"]))


def test_a_fork_is_told_in_the_bits_that_it_changes() -> None:
    before = [written(ARM, 0x4711 + i) for i in range(3)]
    found = table(ARM, before).diff(table(ARM, [STEPS["wrprotect"](entry) for entry in before]))
    assert set(found["change"]) == {"write-protected"}
    assert set(found["flipped"]) == {RDONLY | 1 << 51}
    assert "+rdonly" in repr(found)
    assert "-dbm" in repr(found)
    assert len(found.runs()) == 1


def test_pages_without_access_are_told_to_be_that() -> None:
    with_access, without = written(ARM, 0x4711), STEPS["mkdirty"](ARM.pfn_pte(0x4711, ARM.protections["none"]))
    (change,) = table(ARM, [with_access]).diff(table(ARM, [without]))["change"]
    assert change == "access taken away"


def test_runs_follow_each_other_by_the_pages_of_the_machine() -> None:
    found = table(ARM16, [written(ARM16, 0x4711 + i) for i in range(4)])
    assert found["pfn"].tolist() == [0x4711, 0x4712, 0x4713, 0x4714]
    assert found["size"].tolist() == [1 << 14] * 4
    assert found.runs()["entries"].tolist() == [4]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it)), lambda it: it[:], pd.concat])  # noqa: S301  (ours)
def test_a_frame_says_itself_how_its_bits_are_to_be_read(way: object) -> None:
    found = table(ARM16, [written(ARM16, 0x4711)])
    again = way([found] if way is pd.concat else found)  # type: ignore[operator]
    assert again.attrs["format"].startswith("arm64_16k 4 ")
    assert again.bits().text() == found.bits().text()
    assert "  dbm  " in again.bits().text()
    assert pte_magic.decode(0x8000000153016067, arch="x86_64").attrs["format"].startswith("x86_64 ")
