"""Entries of 32-bit x86 that the kernel's macros make say what was put into them, with PAE and without."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kernel_macros import decoded
from x86_32_macros import MACROS, PRESENT, PROTNONE, PSE, SWP_EXCLUSIVE, Macros

import pte_magic
from pte_magic.formats.describe import describe

macros = st.sampled_from(MACROS)
frames = st.integers(0, (1 << 40) - 1)
chosen = st.sets(st.sampled_from(["rw", "user", "accessed", "dirty", "special", "saved_dirty", "nx"]))


def some(of: Macros, names: set[str]) -> tuple[int, dict[str, object]]:
    """Return the bits of those columns that there are, and what the columns say."""
    said: dict[str, object] = {name: name in names for name in of.flags}
    return sum(bit for name, bit in of.flags.items() if name in names), said


@given(macros, frames, chosen, st.booleans())
def test_page(of: Macros, pfn: int, names: set[str], is_global: bool) -> None:
    flags, said = some(of, names)
    pfn &= of.physical_mask >> 12
    entry = of.leaf(pfn, flags | PRESENT | is_global << 8)
    assert decoded(entry, "pte", of.kernel) == {
        "level": "pte", "entry": entry, "state": "present", "pfn": pfn, "present": True, "global": is_global,
        "cache": "WB", **said,
    }  # fmt: skip


@given(macros, frames, chosen, st.sampled_from([PRESENT, PROTNONE]))
def test_huge_page(of: Macros, pfn: int, names: set[str], how: int) -> None:
    level, shift = of.huge
    flags, said = some(of, names)
    pfn &= of.physical_mask >> 12 & -(1 << shift - 12)
    entry = of.leaf(pfn, flags | how | PSE, shift)
    said |= {"global": False} if how == PRESENT else {}
    assert decoded(entry, level, of.kernel) == {
        "level": level, "entry": entry, "state": "present" if how == PRESENT else "protnone", "pfn": pfn,
        "present": how == PRESENT, "cache": "WB", **said,
    }  # fmt: skip
    assert f"{1 << shift - 20} MiB" in describe(entry, level, of.kernel).says


@given(macros, frames, chosen)
def test_page_without_access(of: Macros, pfn: int, names: set[str]) -> None:
    flags, said = some(of, names)
    pfn &= of.physical_mask >> 12
    entry = of.leaf(pfn, flags | PROTNONE)
    assert decoded(entry, "pte", of.kernel) == {
        "level": "pte", "entry": entry, "state": "protnone", "pfn": pfn, "present": False, "cache": "WB", **said,
    }  # fmt: skip


@given(macros, frames)
def test_table(of: Macros, pfn: int) -> None:
    pfn &= of.physical_mask >> 12
    entry = pfn << 12 | PRESENT
    bits = {"rw": False, "user": False, "accessed": False} | ({"nx": False} if of.pae else {})
    expected = {"level": "pgd", "entry": entry, "state": "table", "pfn": pfn, "present": True}
    # The four topmost entries of PAE allow and forbid nothing.
    assert decoded(entry, "pgd", of.kernel) == (expected if of.pae else expected | bits)
    if of.pae:
        assert decoded(entry, "pmd", of.kernel) == expected | bits | {"level": "pmd"}


@given(macros, st.integers(0, 22), st.integers(0, (1 << 23) - 1), st.booleans())
def test_swapped_page(of: Macros, device: int, offset: int, exclusive: bool) -> None:
    told = of.release >= (6, 3)
    entry = of.swap_entry(device, offset, (exclusive and told) * SWP_EXCLUSIVE)
    assume(entry)
    assert decoded(entry, "pte", of.kernel) == {
        "level": "pte", "entry": entry, "state": "swap", "present": False, "swap_type": device, "swap_offset": offset,
        **({"swp_exclusive": exclusive} if told else {}),
    }  # fmt: skip


@given(macros, st.integers(0, (1 << 20) - 1))
def test_page_on_its_way(of: Macros, pfn: int) -> None:
    number = of.kernel.swap.types.index(("migration", "migration_read"))
    found = decoded(of.swap_entry(number, pfn), "pte", of.kernel)
    assert (found["state"], found["kind"], found["pfn"]) == ("migration", "migration_read", pfn)


@pytest.mark.parametrize("value", [1 << 32, (1 << 64) - 1, [1, 1 << 32]])
def test_what_has_more_than_32_bits_is_no_entry_without_pae(value: object) -> None:
    with pytest.raises(pte_magic.PteMagicError, match=r"is not a 32-bit entry; type a number from 0 to 0xffffffff$"):
        pte_magic.decode(value, arch="x86_32")  # type: ignore[arg-type]  # what is tested
    assert list(pte_magic.decode(value, arch="x86_pae")["state"])  # type: ignore[arg-type]


def test_an_entry_of_32_bits_is_a_picture_of_32_bits() -> None:
    field = pte_magic.decode(0x1C000E7, level="pgd", arch="i386").bits()
    assert field.text().startswith("pgd entry 0x01c000e7: present, maps 4 MiB at physical address 0x1c00000\n")
    assert field.text().count("\n") > 12
    assert field.html().count('<tr class="pte-number">') == 2
    assert field.get_state("entry") == {"entry": "0x01c000e7"}
    with pytest.raises(Exception, match="a number from 0 to 0xffffffff"):
        field.entry = 1 << 32
    with pytest.raises(Exception, match="level is one of pgd, pte"):
        field.level = "pmd"
