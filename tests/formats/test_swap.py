"""Types of swap entries, by era and configuration, and the entries that the kernel's macros make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kernel_macros import (
    KERNELS,
    SWP_EXCLUSIVE,
    SWP_SOFT_DIRTY,
    SWP_UFFD_WP,
    decoded,
    kernel,
    swap_entry,
    union,
)

from pte_magic.formats.swap_types import swap_types

if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel

MIGRATIONS = ["migration_read", "migration_read_exclusive", "migration_write"]
DEVICES = ["device_write", "device_read"]
PAIR = ["device_exclusive_write", "device_exclusive_read"]
BASE = "migration pte_marker"

# include/linux/swap.h of 6.1, of 6.2 to 6.14, and since 6.15: features, first special type, what follows from there.
TAILS = [
    (f"{BASE} swapin_error_type memory_failure device_private device_exclusive_pair", 22,
     ["hwpoison", *MIGRATIONS, *DEVICES, *PAIR, "marker", "swapin_error"]),
    (f"{BASE} swapin_error_type memory_failure", 26, ["hwpoison", *MIGRATIONS, "marker", "swapin_error"]),
    (f"{BASE} swapin_error_type", 27, [*MIGRATIONS, "marker", "swapin_error"]),
    ("migration swapin_error_type memory_failure", 27, ["hwpoison", *MIGRATIONS, "swapin_error"]),
    (f"{BASE} memory_failure device_private device_exclusive_pair", 23,
     ["hwpoison", *MIGRATIONS, *DEVICES, *PAIR, "marker"]),
    (f"{BASE} memory_failure device_private", 24,
     ["hwpoison", *MIGRATIONS, *DEVICES, "device_exclusive", "marker"]),
    (f"{BASE} memory_failure", 27, ["hwpoison", *MIGRATIONS, "marker"]),
    (BASE, 28, [*MIGRATIONS, "marker"]),
    ("pte_marker", 31, ["marker"]),
]  # fmt: skip
STATES = {"swapin_error": "marker", "hwpoison": "hwpoison", "marker": "marker"}

features = st.sampled_from([words for words, _, _ in TAILS])
offsets = st.integers(0, (1 << 50) - 1)
flag_sets = st.sets(st.sampled_from([SWP_SOFT_DIRTY, SWP_UFFD_WP, SWP_EXCLUSIVE]))


def state_of(name: str) -> str:
    return STATES.get(name, name.partition("_")[0])


@pytest.mark.parametrize(("words", "first", "tail"), TAILS)
def test_types_are_counted_as_the_kernel_counts_them(words: str, first: int, tail: list[str]) -> None:
    types = swap_types(frozenset(words.split()), 34).types
    expected = [(state_of(name), None if name in {"hwpoison", "marker"} else name) for name in tail]
    assert first + len(tail) == len(types) == 32
    assert types == (*[("swap", None)] * first, *expected)


@pytest.mark.parametrize(("levels", "bits"), [(4, 34), (5, 40)])
def test_page_frames_in_offsets_are_as_wide_as_physical_memory_may_be(levels: int, bits: int) -> None:
    assert kernel("", levels=levels).swap.pfn_bits == bits


@given(st.sampled_from(["pte", "pmd"]), st.booleans(), st.integers(0, 22), offsets, flag_sets)
def test_swapped_page(level: str, soft: bool, device: int, offset: int, flags: set[int]) -> None:
    entry = swap_entry(device, offset, union(flags))
    assume(entry)  # the very last page of the first device would be an empty entry; no device is that large
    tracked = {"soft_dirty": SWP_SOFT_DIRTY in flags} if soft else {}
    assert decoded(entry, level, kernel(TAILS[4][0] + " soft_dirty" * soft)) == {
        "level": level, "entry": entry, "state": "swap", "present": False, "uffd_wp": SWP_UFFD_WP in flags,
        "swp_exclusive": SWP_EXCLUSIVE in flags, "swap_type": device, "swap_offset": offset, **tracked,
    }  # fmt: skip


@given(
    st.sampled_from(["pte", "pmd"]),
    st.sampled_from(
        [(w, first + i, name) for w, first, tail in TAILS for i, name in enumerate(tail) if name != "marker"]
    ),
    st.integers(0, (1 << 34) - 1),
    st.integers(0, 3),
    st.sampled_from([4, 5]),
)
def test_special_entry(level: str, special: tuple[str, int, str], pfn: int, young_dirty: int, levels: int) -> None:
    words, number, name = special
    offset = pfn | young_dirty << (34 if levels == 4 else 40)  # SWP_MIG_YOUNG, SWP_MIG_DIRTY
    found = decoded(swap_entry(number, offset), level, kernel(words, levels=levels))
    named = {} if name == "hwpoison" else {"kind": name}
    framed = {} if name == "swapin_error" else {"pfn": pfn}
    expected = {"state": state_of(name), "swap_type": number, "swap_offset": offset, **named, **framed}
    assert {key: found[key] for key in found if key in {"state", "kind", "pfn", "swap_type", "swap_offset"}} == expected


# include/linux/swapops.h: PTE_MARKER_UFFD_WP, PTE_MARKER_POISONED, PTE_MARKER_GUARD
@pytest.mark.parametrize(("bits", "kind"), [(1, "uffd_wp"), (2, "poisoned"), (3, "poisoned"), (4, "guard")])
@pytest.mark.parametrize("words", [words for words, *_ in TAILS if "pte_marker" in words])
def test_marker_says_what_it_marks(words: str, bits: int, kind: str) -> None:
    number = 30 if "swapin_error_type" in words else 31
    found = decoded(swap_entry(number, bits), "pte", kernel(words))
    assert (found["state"], found["kind"], found["uffd_wp"]) == ("marker", kind, bool(bits & 1))
    assert "pfn" not in found


def test_guard_page_seen_in_a_kernel() -> None:
    found = decoded(0xFFFFFFFFFFFFF600, "pte", KERNELS["6.18-4"])
    assert (found["state"], found["kind"], found["swap_type"], found["swap_offset"]) == ("marker", "guard", 31, 4)


@pytest.mark.parametrize("of", KERNELS.values(), ids=[*KERNELS])
def test_every_special_type_of_a_kernel_has_a_state(of: Kernel) -> None:
    states = [decoded(swap_entry(number, 1), "pte", of)["state"] for number in range(32)]
    assert states == [state for state, _ in of.swap.types]
    assert states == sorted(states, key=lambda state: state != "swap")
