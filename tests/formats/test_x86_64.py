"""Entries that the kernel's macros make say what was put into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_macros import (
    ACCESSED,
    ALL,
    DIRTY,
    GLOBAL,
    KERNELS,
    LEAF_MASK,
    NX,
    PAT,
    PAT_LARGE,
    PCD,
    PRESENT,
    PROTNONE,
    PSE,
    PWT,
    RW,
    SOFT_DIRTY,
    SPECIAL,
    UFFD_WP,
    USER,
    decoded,
    kernel,
    leaf,
    mkinvalid,
    swap_entry,
    union,
)

from pte_magic.formats.field import Shape
from pte_magic.formats.kernel import fields

if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel

HOST = KERNELS["6.18-4"]
LEAF_BITS = {
    "rw": RW, "user": USER, "accessed": ACCESSED, "dirty": DIRTY, "special": SPECIAL, "uffd_wp": UFFD_WP, "nx": NX,
}  # fmt: skip
PAT_TYPES = ("WB", "WC", "UC-", "UC", "WB", "WP", "UC-", "WT")  # PAT_VALUE(...) of arch/x86/mm/pat/memtype.c

kernels = st.sampled_from([*KERNELS.values()])
page_frames = st.integers(0, (1 << 40) - 1)
flag_sets = st.sets(st.sampled_from([RW, USER, ACCESSED, DIRTY, SPECIAL, UFFD_WP, SOFT_DIRTY, NX, 1 << 57, 1 << 58]))
pkeys = st.integers(0, 15)
pat_indices = st.integers(0, 7)
huge = st.sampled_from(["pmd", "pud"])


def pat_flags(index: int, high: int) -> int:
    """``cachemode2protval()``: the flags that select an entry of the PAT; `high` is PAT or PAT_LARGE."""
    return index % 2 * PWT | index // 2 % 2 * PCD | index // 4 * high


def said(flags: int, of: Kernel) -> dict[str, object]:
    """Return the boolean columns of a leaf with these flags."""
    bits = dict(LEAF_BITS)
    bits |= {"soft_dirty": SOFT_DIRTY} if "soft_dirty" in of.features else {}
    bits |= {"saved_dirty": 1 << 58} if "saved_dirty" in of.features else {}
    bits |= {"devmap": 1 << 57} if "devmap57" in of.features else {}
    bits |= {"devmap": 1 << 58} if "devmap58" in of.features else {}
    return {name: bool(flags & bit) for name, bit in bits.items()}


@given(kernels, page_frames, flag_sets, st.tuples(pkeys, pat_indices, st.booleans()))
def test_present_pte(of: Kernel, pfn: int, flags: set[int], more: tuple[int, int, bool]) -> None:
    pkey, pat, is_global = more
    bits = union(flags) | PRESENT | is_global * GLOBAL | pkey << 59 | pat_flags(pat, PAT)
    entry = leaf(pfn, bits)
    assert decoded(entry, "pte", of) == {
        "level": "pte", "entry": entry, "state": "present", "pfn": pfn, "present": True, "global": is_global,
        "cache": PAT_TYPES[pat], "pkey": pkey, **said(bits, of),
    }  # fmt: skip


@given(kernels, huge, page_frames, flag_sets, st.tuples(pkeys, pat_indices))
def test_huge_leaf(of: Kernel, level: str, pfn: int, flags: set[int], more: tuple[int, int]) -> None:
    pkey, pat = more
    bits = union(flags) | PRESENT | PSE | pkey << 59 | pat_flags(pat, PAT_LARGE)
    entry = leaf(pfn, bits, level)
    assert decoded(entry, level, of) == {
        "level": level, "entry": entry, "state": "present", "pfn": (pfn << 12 & LEAF_MASK[level]) >> 12,
        "present": True, "global": False, "cache": PAT_TYPES[pat], "pkey": pkey, **said(bits, of),
    }  # fmt: skip


@given(
    kernels,
    st.sampled_from(["pgd", "p4d", "pud", "pmd"]),
    page_frames,
    st.sets(st.sampled_from([RW, USER, ACCESSED, NX])),
)
def test_table(of: Kernel, level: str, pfn: int, flags: set[int]) -> None:
    entry = pfn << 12 | PRESENT | union(flags)
    assert decoded(entry, level, of) == {
        "level": level, "entry": entry, "state": "table", "pfn": pfn, "present": True,
        "rw": RW in flags, "user": USER in flags, "accessed": ACCESSED in flags, "nx": NX in flags,
    }  # fmt: skip


@given(kernels, page_frames, flag_sets, pkeys)
def test_protnone_pte_has_its_frame_inverted(of: Kernel, pfn: int, flags: set[int], pkey: int) -> None:
    bits = union(flags) | PROTNONE | pkey << 59
    entry = leaf(pfn, bits)
    assert decoded(entry, "pte", of) == {
        "level": "pte", "entry": entry, "state": "protnone", "pfn": pfn, "present": False,
        "cache": "WB", "pkey": pkey, **said(bits, of),
    }  # fmt: skip


@given(kernels, huge, page_frames, flag_sets)
def test_protnone_huge_leaf_has_its_frame_inverted(of: Kernel, level: str, pfn: int, flags: set[int]) -> None:
    bits = union(flags) | PROTNONE | PSE
    entry = leaf(pfn, bits, level)
    assert decoded(entry, level, of) == {
        "level": level, "entry": entry, "state": "protnone", "pfn": (pfn << 12 & LEAF_MASK[level]) >> 12,
        "present": False, "cache": "WB", "pkey": 0, **said(bits, of),
    }  # fmt: skip


@given(kernels, page_frames, flag_sets)
def test_huge_page_that_is_being_split(of: Kernel, pfn: int, flags: set[int]) -> None:
    before = leaf(pfn, union(flags) | PRESENT | PSE, "pmd")
    entry = mkinvalid(before)
    assert decoded(entry, "pmd", of) == {
        "level": "pmd", "entry": entry, "state": "present", "kind": "splitting",
        "pfn": (before & LEAF_MASK["pmd"]) >> 12, "present": False, "cache": "WB", "pkey": 0, **said(before, of),
    }  # fmt: skip


@pytest.mark.parametrize("level", ["pgd", "p4d", "pud", "pmd", "pte"])
def test_empty_entry(level: str) -> None:
    assert decoded(0, level, HOST) == {"level": level, "entry": 0, "state": "none", "present": False}


@given(page_frames, st.integers(40, 51), st.booleans())
def test_encryption_bit_is_no_part_of_the_frame(pfn: int, c_bit: int, encrypted: bool) -> None:
    of, bit = kernel("migration pte_marker", c_bit=c_bit), 1 << c_bit
    entry = (pfn << 12) & ~bit | encrypted * bit | PRESENT
    found = decoded(entry, "pte", of)
    assert (found["pfn"], found["encrypted"]) == (((pfn << 12) & ~bit) >> 12, encrypted)


# Entries whose pages were made by hand on 6.18: dirty, after fork, after mprotect(PROT_NONE) of that.
@pytest.mark.parametrize(
    ("entry", "state", "bits"),
    [
        (0x800000010F036067, "present", {"present", "rw", "user", "accessed", "dirty", "nx"}),
        (0x840000010F036025, "present", {"present", "user", "accessed", "saved_dirty", "nx"}),
        (0x040FFFFEF0FC9120, "protnone", {"accessed", "saved_dirty"}),
    ],
)
def test_entries_seen_in_a_kernel(entry: int, state: str, bits: set[str]) -> None:
    found = decoded(entry, "pte", HOST)
    assert (found["state"], found["pfn"]) == (state, 0x10F036)
    assert {name for name, value in found.items() if isinstance(value, (bool, type(found["rw"]))) and value} == bits


@pytest.mark.parametrize("of", KERNELS.values(), ids=[*KERNELS])
@pytest.mark.parametrize("shape", [Shape.PAGE, Shape.HUGE, Shape.PROTNONE, Shape.PROTNONE_HUGE, Shape.INVALID_HUGE])
def test_every_bit_of_a_leaf_has_a_name_unless_it_is_ignored(of: Kernel, shape: Shape) -> None:
    used = {57: "devmap57", 58: "devmap58 saved_dirty", 11: "soft_dirty"}
    unused = {bit for bit, features in used.items() if not of.features & {*features.split()}}
    named = union(field.mask for field in fields(of) if shape in field.shapes)
    assert {bit for bit in range(64) if not named >> bit & 1} == {52, 53, 54, 55, 56} | unused


@given(
    kernels,
    st.integers(0, ALL),
    st.sampled_from(
        [
            (Shape.PAGE, "pte", PRESENT, PRESENT),
            (Shape.TABLE, "pud", PRESENT, PRESENT | PSE),
            (Shape.HUGE, "pmd", PRESENT | PSE, PRESENT | PSE),
            (Shape.PROTNONE, "pte", PROTNONE, PROTNONE | PRESENT),
            (Shape.PROTNONE_HUGE, "pud", PROTNONE | PSE, PROTNONE | PRESENT | PSE),
            (Shape.INVALID_HUGE, "pmd", PSE, PSE | PROTNONE | PRESENT),
            (
                Shape.SWAP,
                "pte",
                swap_entry(5, 0),
                PROTNONE | PSE | DIRTY | ACCESSED | PCD | PRESENT | SPECIAL | 31 << 59,
            ),
        ]
    ),
)
def test_fields_hold_what_the_columns_say(of: Kernel, bits: int, how: tuple[Shape, str, int, int]) -> None:
    shape, level, value, mask = how
    entry = bits & ~mask | value & mask
    found = decoded(entry, level, of)
    single = [field for field in fields(of) if field.column and field.width == 1 and shape in field.shapes]
    own = {str(field.column): bool(field.value(entry)) for field in single}
    assert own == {name: found[name] for name in own}
    for name, column in {"pkey": "pkey", "type": "swap_type"}.items():
        values = [field.value(entry) for field in fields(of) if field.name == name and shape in field.shapes]
        assert values == ([found[column]] if values else [])
