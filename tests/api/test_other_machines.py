"""Frames of a machine whose pages have another size than this one's, as an engine of a cluster sends them: 16 KiB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import pte_magic
from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.formats.registry import FORMATS
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from pte_magic import PteFrame

PAGE, HUGE, BLOCK = 16 << 10, 32 << 20, 2 << 20
START = 1 << 40
# arch/arm64/include/asm/pgtable-hwdef.h: UXN, CONT; nG, AF, SH, AP[1], Normal memory; page or block.
UXN, CONT, FLAGS, SMALL, LARGE = 1 << 54, 1 << 52, 0xF40, 0b11, 0b01


def made(entries: list[int], size: int = PAGE, level: str = "pte") -> PteFrame:
    raw = np.array(entries, np.uint64)
    spans = np.array([(START, size, len(raw), LEVELS.index(level))], SPAN)
    return pte_frame.build(Entries(raw, spans, "arm64_16k", "bpf"), kernel.reading("arm64_16k"), pid=1, host="other")


def pages(count: int, first: int = 0x4000, more: int = 0) -> PteFrame:
    """Make a frame of pages whose page frames follow each other."""
    return made([(first + at) * PAGE | UXN | FLAGS | SMALL | more for at in range(count)])


@pytest.mark.parametrize("forgotten", [False, True])  # as by pandas.concat of frames of several machines
def test_neighbours_in_memory_are_a_run(*, forgotten: bool) -> None:
    found = pages(200)
    if forgotten:
        found.attrs.clear()
    assert found["pfn"].tolist() == list(range(0x4000, 0x4000 + 200))
    assert found.runs()[["entries", "bytes"]].to_numpy().tolist() == [[200, 200 * PAGE]]
    assert "1 physically contiguous run, the largest 3.125 MiB" in found.map(color="contiguity").text()
    apart = pd.concat([found[:100], found[101:]], ignore_index=True)
    assert len(apart.runs()) == 2


def test_a_huge_page_in_pieces_has_the_same_frames() -> None:
    whole = made([0x4000 * PAGE | UXN | FLAGS | LARGE], HUGE, "pmd")
    small = pages(HUGE // PAGE)
    found = whole.diff(small)
    assert set(found["change"]) == {"became 16 KiB"}
    assert found["pfn_before"].tolist() == found["pfn_after"].tolist() == list(range(0x4000, 0x4000 + HUGE // PAGE))
    assert small.diff(whole)["change"].tolist() == ["became 32 MiB"]


def test_a_contiguous_block_is_told_as_what_it_is() -> None:
    found = pages(BLOCK // PAGE, more=CONT)
    assert set(found["mapped"]) == {BLOCK}
    assert found.summary()["entries"].to_dict() == {("present", BLOCK): 128}
    assert repr(found).splitlines()[:2] == [
        "2 MiB: all resident; all on contiguous blocks of 2 MiB; nothing swapped",
        "128 entries, 2 MiB: present 16 KiB in contiguous 2 MiB \N{MULTIPLICATION SIGN} 128",
    ]
    size = found.map(color="size")
    assert [category.name for category in size._layer.categories] == ["2 MiB"]


@pytest.mark.parametrize("name", [*FORMATS])
@pytest.mark.parametrize("release", [None, "6.12"])
def test_decoded_entries_of_any_machine_are_shown(name: str, release: str | None) -> None:
    """Also beside those of this one, and of another release."""
    theirs, ours = pte_magic.decode([0x67, 0], arch=name, release=release), pte_magic.decode(0x67)
    for shown in (theirs, pd.concat([theirs, ours]), pd.concat([ours, pte_magic.decode(0x67, release="6.1")])):
        assert re.search("0x0+67", repr(shown))
        assert re.search("0x0+67", shown._repr_html_() or "")
