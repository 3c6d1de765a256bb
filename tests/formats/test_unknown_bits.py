"""A bit that a kernel does not know is not decoded, and one that means something else is not called by its old name."""

from __future__ import annotations

import pytest
from kernel_macros import decoded, kernel, swap_entry

from pte_magic.formats.describe import describe
from pte_magic.formats.kernel import Kernel, known, of_release

RWP64 = kernel("migration pte_marker saved_dirty uffd_rwp")
RWP_ARM = known("arm64_4k", 4, of_release("arm64_4k", (7, 2)).features | {"uffd_rwp"})
# Bits of the system's own that not all kernels know, of a present leaf, with the features by which they do.
GATED = [
    ("x86_64", 11, "soft_dirty", "soft_dirty"),
    ("x86_64", 57, "devmap57", "devmap"),
    ("x86_64", 58, "devmap58", "devmap"),
    ("x86_64", 58, "saved_dirty", "saved_dirty"),
    ("x86_32", 10, "saved_dirty", "saved_dirty"),
    ("x86_pae", 10, "saved_dirty", "saved_dirty"),
    ("arm64_4k", 57, "devmap", "devmap"),
    ("arm64_4k", 58, "uffd_wp", "uffd_wp"),
]


@pytest.mark.parametrize(("name", "bit", "feature", "column"), GATED)
def test_a_bit_is_read_only_by_kernels_that_know_it(name: str, bit: int, feature: str, column: str) -> None:
    arm = {"present_invalid"} if name.startswith("arm64") else set()
    without, with_ = (known(name, 4 if name != "x86_32" else 2, frozenset(arm | some)) for some in (set(), {feature}))
    entry = 0x153016000 & 0xFFFF_F000 | 3 | 1 << bit
    assert column not in decoded(entry, "pte", without)
    assert decoded(entry, "pte", with_)[column]
    (part,) = [part for part in describe(entry, "pte", without).parts if part.low <= bit < part.low + part.width]
    assert (part.name, part.by) == ("", "nobody")


def test_a_pgd_entry_without_a_copy_for_user_mode_is_of_kernels_that_have_the_bit() -> None:
    entry = 0x153016067 | 1 << 58
    for of, name in ((kernel("migration devmap58"), ""), (kernel("migration saved_dirty"), "noptishadow")):
        assert {part.name for part in describe(entry, "pgd", of).parts if part.low <= 58 < part.low + part.width} == {
            name
        }


@pytest.mark.parametrize(
    ("of", "entry"),
    [
        (RWP64, 0x153016467),
        (RWP64, swap_entry(1, 7, 1 << 2)),
        (RWP_ARM, 0x00E8000047B4CF43 | 1 << 58),
        (RWP_ARM, 7 << 12 | 8),
    ],
    ids=["x86-64", "x86-64 swap", "arm64", "arm64 swap"],
)
def test_where_the_bit_has_two_meanings_it_is_not_called_write_protection(of: Kernel, entry: int) -> None:
    found = decoded(entry, "pte", of)
    assert "uffd_wp" not in found
    parts = {part.name: part for part in describe(entry, "pte", of).parts}
    (part,) = [parts[name] for name in ("uffd", "swp_uffd") if name in parts]
    assert (part.value, "the region tells from what" in part.meaning) == (1, True)
    assert not any("write-protected" in part.meaning for part in parts.values())
