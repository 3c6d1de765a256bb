"""An entry taken apart: no bit is lost, and what is said is what the columns of a frame say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_macros import KERNELS, swap_entry

from pte_magic.formats import registry
from pte_magic.formats.describe import describe
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from pte_magic.formats.field import Field

entries = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1).map(lambda entry: entry | 1),  # present
    st.integers(0, (1 << 64) - 1).map(lambda entry: entry & ~1 | 0x100),  # protnone
    st.just(0),
)
levels = st.sampled_from(LEVELS)
kernels = st.sampled_from([*KERNELS.values()])


@given(entries, levels, kernels)
def test_the_parts_are_all_bits_once_the_highest_first(entry: int, level: str, kernel: object) -> None:
    found = describe(entry, level, kernel)  # type: ignore[arg-type]  # sampled_from() knows no type
    above = found.width
    for part in found.parts:
        assert part.low + part.width == above
        above = part.low
    assert above == 0
    assert sum(part.value << part.low for part in found.parts) == entry


@pytest.mark.parametrize(
    ("entry", "level", "says"),
    [
        (0, "pmd", "empty, nothing is mapped in these 2 MiB"),
        (0x8000000153016067, "pte", "maps 4 KiB at physical address 0x153016000"),
        (0x80000002892000E7, "pmd", "maps 2 MiB at physical address 0x289200000"),
        (0x80000000C00000E7, "pud", "maps 1 GiB at physical address 0xc0000000"),
        (0x153016067, "pmd", "points to the next page table, at physical address 0x153016000"),
        (
            0x7FFFFFFEACFE9960,
            "pte",
            "no access is allowed to these 4 KiB, which are in memory at physical address 0x153016000",
        ),
        (
            ~0x289200000 & 0x000F_FFFF_FFFF_F000 | 0xE6,
            "pmd",
            "being split or changed, not present for the CPU now: 2 MiB in memory at physical address 0x289200000",
        ),
        (swap_entry(3, 0x1234), "pte", "swapped out, to page 0x1234 of swap device 3"),
    ],
)
def test_it_says_in_words_what_the_entry_is_for(entry: int, level: str, says: str) -> None:
    assert describe(entry, level, KERNELS["6.18-4"]).says == says


@given(st.integers(0, 3), st.integers(0, (1 << 40) - 1))
def test_special_entries_are_called_by_their_names(number: int, frame: int) -> None:
    kernel = KERNELS["6.18-4"]
    states = [state for state, _ in kernel.swap.types]
    kind_of = states.index("migration") + number % 3
    frame &= (1 << kernel.swap.pfn_bits) - 1
    found = describe(swap_entry(kind_of, frame), "pte", kernel)
    parts = {part.name: part for part in found.parts}
    assert found.state == "migration"
    assert parts["type"].value == kind_of
    assert parts["type"].says == found.kind == kernel.swap.types[kind_of][1]
    assert parts["offset"].says == f"page frame {frame:#x}"
    assert f"{frame:#x}" in found.says


@pytest.mark.parametrize(
    ("entry", "level", "inverted"),
    [(0x80000002892000E7, "pmd", False), (~0x289200000 & 0x000F_FFFF_FFFF_F000 | 0xE6, "pmd", True),
     (0x153016067, "pte", False), (~0x153016000 & 0x000F_FFFF_FFFF_F000 | 0x160, "pte", True)],
)  # fmt: skip
def test_bits_of_a_frame_that_are_inverted_are_said_to_be(entry: int, level: str, inverted: bool) -> None:
    found = describe(entry, level, KERNELS["6.18-4"])
    says = next(part.says for part in found.parts if part.name == "pfn")
    assert says.endswith(", bits inverted") == inverted
    assert f"physical address {0x289200000 if level == 'pmd' else 0x153016000:#x}" in says


def test_every_marker_and_broken_frame_is_described() -> None:
    kernel = KERNELS["6.18-4"]
    for kind_of, (state, _) in enumerate(kernel.swap.types):
        for offset in (1, 2, 4, np.uint64(5)):
            found = describe(swap_entry(kind_of, int(offset)), "pte", kernel)
            assert found.state == state
            assert "{" not in found.says


@pytest.mark.parametrize(
    ("entry", "level", "place", "rest"),
    [
        (0x106923061, "pte", 0x106923000, ""),
        (0x00003FFFFFFFF063, "pte", 0x3FFFFFFFF000, ""),
        (0x800FFFFFA7598063, "pte", 0xFFFFFA7598000, "; with inverted page frame bits it is 0x58a67000"),
        (0x80000001000000E6, "pmd", 0xFFFFEFFE00000, "; with inverted page frame bits it is 0x100000000"),
        (0x000400031BC72067, "pte", 0x400031BC72000, ""),
        (
            0x000800031BC72067,
            "pmd",
            0x800031BC72000,
            "; bit 51 may be memory encryption, with the address 0x31bc72000",
        ),
    ],
)
def test_an_address_that_no_machine_has_is_said_to_be_that(entry: int, level: str, place: int, rest: str) -> None:
    beyond = "; no host has memory above 64 TiB" if place >> 46 else ""
    for kernel in (KERNELS["6.18-4"], KERNELS["6.18-5"]):
        says, _, option = describe(entry, level, kernel).says.partition(": decode(…, encryption_mask=")
        assert says.endswith(f" at physical address {place:#x}{beyond}{rest}")
        assert option == ("1 << 51) reads it like that" if "encryption" in rest else "")


EACH_BIT = {
    f"{name}-{field.name}-{number}": field
    for name, form in registry.FORMATS.items()
    for number, field in enumerate(form.fields)
    if field.width == 1
}


@pytest.mark.parametrize("field", EACH_BIT.values(), ids=EACH_BIT)
def test_a_bit_that_is_0_does_not_have_the_meaning_of_1(field: Field) -> None:
    assert field.zero
    assert field.zero != field.meaning
    assert (field.meant(field.mask), field.meant(~field.mask)) == (field.meaning, field.zero)


@given(entries, levels, kernels)
def test_the_meaning_of_each_part_follows_its_value(entry: int, level: str, kernel: object) -> None:
    table = kernel.format.fields  # type: ignore[attr-defined]  # as above
    for part in describe(entry, level, kernel).parts:  # type: ignore[arg-type]
        texts = {(field.meaning, field.zero) for field in table if field.name == part.name and field.width == 1}
        if part.name and part.width == 1:
            assert part.meaning in {text[1 - part.value] for text in texts}
            assert part.meaning not in {text[part.value] for text in texts}


def test_entries_that_are_not_present_fault() -> None:
    said = {part.name: part.meaning for part in describe(0x153016064, "pte", KERNELS["6.18-4"]).parts}
    assert (said["present"], said["rw"]) == ("the CPU faults", "writes fault")
    said = {part.name: part.meaning for part in describe(0x153016067, "pte", KERNELS["6.18-4"]).parts}
    assert (said["present"], said["rw"]) == ("the CPU translates through this entry", "writes are allowed")
