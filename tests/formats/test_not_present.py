"""Entries that are not present, in no layout that Linux gives a process: pages of its own that it made not present."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from arm64_macros import MACROS as ARM64
from arm64_macros import NG, PXN, RDONLY, UXN, VALID, WRITE
from arm64_macros import Macros as MacrosArm
from hypothesis import given
from hypothesis import strategies as st
from kernel_macros import ACCESSED, ALL, DIRTY, KERNELS, NX, PAT, PCD, PRESENT, decoded, leaf
from x86_32_macros import MACROS as X86_32
from x86_32_macros import Macros as Macros32

import pte_magic
from pte_magic.formats.describe import describe
from pte_magic.formats.hidden import hide

if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel

DATA = ACCESSED | DIRTY  # of _PAGE_TABLE and PAGE_KERNEL, what __set_pages_np() and kernel_map_pages() leave
memory = st.integers(0, (1 << 34) - 1)  # page frames below 64 TiB
said = ("state", "kind", "pfn", "present", "swap_type", "swap_offset")


def told(entry: int, level: str, of: Kernel) -> dict[str, object]:
    return {name: value for name, value in decoded(entry, level, of).items() if name in said}


def test_the_page_of_an_oops_is_not_swapped_out() -> None:
    found = pte_magic.decode(0x800FFFFED6F54060, arch="x86_64")
    assert pd.isna(found["state"][0])
    assert (found["kind"][0], found["pfn"][0], found["present"][0]) == ("not_present", 0x1290AB, False)
    assert found[["swap_type", "swap_offset"]].isna().all(axis=None)
    for text in (found.bits().text(), repr(found), found._repr_html_() or ""):
        assert "not a swap entry" in text
        assert "physical address 0x1290ab000" in text
        assert "EiB" not in text
    assert "page frame 0x1290ab, physical address 0x1290ab000, bits inverted" in found.bits().text()


@given(st.sampled_from([*KERNELS.values()]), memory, st.sampled_from([0, NX]), st.sampled_from([0, PCD, PAT]))
def test_kernel_page_of_x86_64(of: Kernel, pfn: int, nx: int, cache: int) -> None:
    entry = leaf(pfn, DATA | nx | cache)  # pte_modify() inverts, as flip_protnone_guard() does
    assert told(entry, "pte", of) == {"kind": "not_present", "pfn": pfn, "present": False}
    assert f"physical address {pfn << 12:#x}" in describe(entry, "pte", of).says


@given(st.sampled_from([*KERNELS.values()]), memory)
def test_a_bit_taken_from_an_entry_leaves_its_frame(of: Kernel, pfn: int) -> None:
    assert told(pfn << 12 | DATA, "pte", of) == {"kind": "not_present", "pfn": pfn, "present": False}


@given(st.sampled_from(X86_32), st.integers(0, (1 << 32) - 1))
def test_kernel_page_of_32_bit_x86(of: Macros32, pfn: int) -> None:
    pfn &= of.physical_mask >> 12
    assert told(of.leaf(pfn, DATA), "pte", of.kernel) == {"kind": "not_present", "pfn": pfn, "present": False}


@given(st.sampled_from(ARM64), st.integers(0, (1 << 40) - 1))
def test_kernel_page_of_arm64(of: MacrosArm, pfn: int) -> None:
    pfn &= (1 << of.physical_bits - of.page_shift) - 1
    page_kernel = of.default | PXN | UXN | WRITE | RDONLY
    entry = of.pfn_pte(pfn, page_kernel) & ~VALID & ~NG  # set_memory_valid(), before 6.17 without PTE_PRESENT_INVALID
    assert told(entry, "pte", of.kernel) == {"kind": "not_present", "pfn": pfn, "present": False}


@given(st.sampled_from([*KERNELS.values()]), st.integers(0, ALL), st.sampled_from([4, 5, 6, 7]))
def test_no_entry_with_bits_that_are_clear_in_swap_entries_is_one(of: Kernel, entry: int, bit: int) -> None:
    entry = entry & ~(PRESENT | 1 << 8) | 1 << bit
    found = told(entry, "pte", of)
    assert "state" not in found
    assert "swap_type" not in found
    assert describe(entry, "pte", of).state == "unknown"


@given(st.sampled_from([*KERNELS.values()]), st.integers(0, ALL))
def test_its_frame_is_hidden_like_a_place_in_swap(of: Kernel, entry: int) -> None:
    raw = np.array([entry & ~(PRESENT | 1 << 8) | DIRTY], np.uint64)
    hide(raw, np.array([4], np.int8), of)
    assert int(raw[0]) >> 9 & (1 << 50) - 1 == (1 << 50) - 1
    assert told(int(raw[0]), "pte", of)["kind"] == "not_present"


@pytest.mark.parametrize(("entry", "says"), [(0x0000000000000002, True), (0x00000FFFFFFFFE00, True),
                                             (0x07FFFFFFFFFFFC00, False), (0x07FFFE0000000000, False)])  # fmt: skip
def test_a_place_that_no_swap_device_has_is_said_to_be_that(entry: int, says: bool) -> None:
    found = describe(entry, "pte", KERNELS["7.2-4"])
    assert found.state == "swap"
    assert ("no swap device has so many pages" in found.says) == says
