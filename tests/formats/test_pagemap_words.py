"""Words of /proc/PID/pagemap, made by hand from Documentation/admin-guide/mm/pagemap.rst, say what that page says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_macros import KERNELS, kernel, union

from pte_magic.api import pte_frame
from pte_magic.formats import pagemap_words
from pte_magic.formats.field import Shape
from pte_magic.walkers.entries import SPAN, Entries

SOFT_DIRTY, EXCLUSIVE, UFFD_WP, GUARD, FILE, SWAP, PRESENT = (1 << bit for bit in (55, 56, 57, 58, 61, 62, 63))
BITS = {"mmap_exclusive": EXCLUSIVE, "uffd_wp": UFFD_WP, "file": FILE}
HOST = kernel("migration pte_marker saved_dirty")
if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel

UNKNOWABLE = ["entry", "rw", "user", "accessed", "dirty", "global", "special", "nx", "saved_dirty", "devmap",
              "encrypted", "swp_exclusive", "cache", "pkey"]  # fmt: skip

kernels = st.sampled_from([*KERNELS.values()])
flag_sets = st.sets(st.sampled_from([SOFT_DIRTY, EXCLUSIVE, UFFD_WP, FILE]))


def table(words: list[int], of: Kernel, *, protnone: bool = False) -> pte_frame.PteFrame:
    n = len(words)
    spans = np.array([(1 << 30, 4096, n, 4)], SPAN)
    entries = Entries(np.array(words, np.uint64), spans, "pagemap", "pagemap", np.full(n, protnone))
    return pte_frame.build(entries, of, pid=1)


def row(word: int, of: Kernel = HOST, *, protnone: bool = False) -> dict[str, object]:
    """Return what one word says of the page; without what is missing."""
    found = table([word], of, protnone=protnone)
    where = ("vaddr", "size", "level", "host", "pid", "walker", "format")
    return {name: found[name][0] for name in found.columns if name not in where and not pd.isna(found[name][0])}


def said(flags: set[int], of: Kernel) -> dict[str, object]:
    bits = BITS | ({"soft_dirty": SOFT_DIRTY} if "soft_dirty" in of.features else {})
    return {name: bit in flags for name, bit in bits.items()}


@given(kernels, st.integers(1, (1 << 55) - 1), flag_sets)
def test_present_page(of: Kernel, pfn: int, flags: set[int]) -> None:
    word = PRESENT | union(flags) | pfn
    assert row(word, of) == {"state": "present", "pfn": pfn, "present": True, **said(flags, of)}


@given(kernels, st.integers(1, (1 << 55) - 1), flag_sets)
def test_present_page_of_a_region_without_access_is_protnone(of: Kernel, pfn: int, flags: set[int]) -> None:
    word = PRESENT | union(flags) | pfn
    assert row(word, of, protnone=True) == {"state": "protnone", "pfn": pfn, "present": False, **said(flags, of)}


@given(st.integers(0, 21), st.integers(1, (1 << 50) - 1), flag_sets)
def test_swapped_page(device: int, offset: int, flags: set[int]) -> None:
    expected = {"state": "swap", "present": False, "swap_type": device, "swap_offset": offset, **said(flags, HOST)}
    del expected["mmap_exclusive"]  # which no kernel says of a place in swap
    assert row(SWAP | union(flags) | offset << 5 | device) == expected


# Types 28 to 30 are the migration entries of a kernel without memory failure and device memory, 31 the markers.
@pytest.mark.parametrize(("number", "kind"), [(28, "read"), (29, "read_exclusive"), (30, "write")])
def test_page_on_its_way_to_another_frame(number: int, kind: str) -> None:
    found = row(SWAP | 0x12345 << 5 | number)
    assert (found["state"], found["kind"], found["pfn"]) == ("migration", f"migration_{kind}", 0x12345)


def test_guard_region_is_known_with_and_without_privileges() -> None:
    for location in (0, 4 << 5 | 31):
        found = row(SWAP | GUARD | location)
        assert (found["state"], found["kind"], found["present"]) == ("marker", "guard", False)


@pytest.mark.parametrize(("word", "state"), [(PRESENT, "present"), (SWAP, "swap")])
def test_location_is_missing_where_the_kernel_hides_it(word: int, state: str) -> None:
    found = row(word | FILE)
    assert found["state"] == state
    assert not {"pfn", "swap_type", "swap_offset", "kind"} & set(found)


def test_nothing_mapped() -> None:
    assert row(0) == {"state": "none", "present": False}


def test_numa_balancing_leaves_presence_in_doubt() -> None:
    of = kernel("migration pte_marker numa_balancing")
    found = table([PRESENT | 5, SWAP | 7 << 5, 0], of)
    assert found["present"].isna().tolist() == [True, False, False]
    assert found["state"].tolist() == ["present", "swap", "none"]
    assert not table([PRESENT | 5], of, protnone=True)["present"][0]


@settings(max_examples=50)  # many frames each
@given(kernels, st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=10))
def test_words_are_decoded_together_as_one_by_one(of: Kernel, words: list[int]) -> None:
    together = table(words, of)
    assert together[UNKNOWABLE].isna().all(axis=None)
    for name in [*BITS, "state", "kind", "pfn", "present", "soft_dirty", "swap_type", "swap_offset"]:
        alone = pd.concat([table([word], of)[name] for word in words], ignore_index=True)
        pd.testing.assert_series_equal(together[name], alone)


@pytest.mark.parametrize("shape", [Shape.PAGE, Shape.SWAP])
def test_fields_of_a_word_do_not_overlap_and_only_two_bits_have_no_name(shape: Shape) -> None:
    own = [field for field in pagemap_words.FIELDS if shape in field.shapes]
    assert sum(field.width for field in own) == union(field.mask for field in own).bit_count()
    other = {SWAP, GUARD} if shape == Shape.PAGE else {PRESENT}
    named = union(field.mask for field in own) | union(other)
    assert named == (1 << 64) - 1 & ~(3 << 59)
