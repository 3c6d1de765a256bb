"""arm64's entries that the kernel's macros make say what was put into them, whatever was done to them."""

from __future__ import annotations

import pytest
from arm64_macros import (
    CONT,
    MACROS,
    MAIR,
    NG,
    RDONLY,
    SPECIAL,
    STEPS,
    TABLE,
    TABLE_AF,
    TABLE_PXN,
    TABLE_UXN,
    USER,
    UXN,
    VALID,
    WRITE,
    Macros,
    dirty,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from kernel_macros import decoded

import pte_magic
from pte_magic.formats.describe import describe

macros = st.sampled_from(MACROS)
frames = st.integers(0, (1 << 40) - 1)
steps = st.lists(st.sampled_from([*STEPS]), max_size=6)
protections = st.sampled_from(["r", "rx", "rw", "rwx", "x", "none"])
levels = st.sampled_from(["pte", "pmd"])


def made(of: Macros, level: str, pfn: int, prot: int, how: list[str]) -> tuple[int, int]:
    """Return an entry to which some things were done, and the page frame that it is of."""
    pfn &= (1 << of.physical_bits - of.page_shift) - 1 & -(1 << of.block_shift[level] - of.page_shift)
    entry = of.pfn_pte(pfn, prot) & ~(TABLE if level == "pmd" else 0)
    for step in how:
        entry = STEPS[step](entry)
    return entry, pfn


def bits(entry: int, of: Macros) -> dict[str, object]:
    """Return what columns say of the bits of a leaf, by the kernel's tests of them."""
    found: dict[str, object] = {
        "present": bool(entry & VALID), "rw": not entry & RDONLY, "accessed": bool(entry & 1 << 10),
        "user": bool(entry & USER) or not entry & UXN, "dirty": dirty(entry), "special": bool(entry & SPECIAL),
        "uxn": bool(entry & UXN), "pxn": bool(entry & 1 << 53), "cont": bool(entry & CONT),
        "dbm": bool(entry & WRITE), "gp": bool(entry & 1 << 50),
    }  # fmt: skip
    found |= {"global": not entry & NG} if entry & VALID else {}
    found |= {"uffd_wp": bool(entry & 1 << 58)} if of.new else {"devmap": bool(entry & 1 << 57)}
    return found


@given(macros, levels, frames, protections, steps, st.integers(0, 4))
def test_leaf(of: Macros, level: str, pfn: int, prot: str, how: list[str], mair: int) -> None:  # noqa: PLR0913, PLR0917  (hypothesis gives them by position)
    entry, pfn = made(of, level, pfn, of.protections[prot] | mair << 2, how)
    size = 1 << of.block_shift[level]
    assert of.protnone(entry) == (prot == "none")
    assert decoded(entry, level, of.kernel) == {
        "level": level, "entry": entry, "state": "protnone" if of.protnone(entry) else "present", "pfn": pfn,
        "cache": MAIR[mair], "mapped": size * of.cont[level] if entry & CONT else size, **bits(entry, of),
    }  # fmt: skip


@given(macros, frames, st.sampled_from(["r", "rx", "rw", "rwx"]), steps)
def test_huge_page_that_is_being_split(of: Macros, pfn: int, prot: str, how: list[str]) -> None:
    before, pfn = made(of, "pmd", pfn, of.protections[prot], [step for step in how if step != "mkglobal"])
    entry = of.mkinvalid(before)
    found = decoded(entry, "pmd", of.kernel)
    assert (found["state"], found["kind"], found["pfn"], found["present"]) == ("present", "splitting", pfn, False)
    same = {name: value for name, value in bits(before, of).items() if name not in {"present", "global"}}
    assert {name: found[name] for name in same} == same


@given(macros, st.sampled_from(["pgd", "pmd"]), frames, st.sets(st.sampled_from([TABLE_PXN, TABLE_UXN, TABLE_AF])))
def test_table(of: Macros, level: str, pfn: int, flags: set[int]) -> None:
    pfn &= (1 << of.physical_bits - of.page_shift) - 1
    entry = of.pfn_pte(pfn, VALID | TABLE | sum(flags))
    assert decoded(entry, level, of.kernel) == {
        "level": level, "entry": entry, "state": "table", "pfn": pfn, "present": True,
        "pxn": TABLE_PXN in flags, "uxn": TABLE_UXN in flags,
    }  # fmt: skip


@given(macros, levels, st.integers(0, 22), st.integers(0, (1 << 50) - 1), st.booleans(), st.booleans())
def test_swapped_page(of: Macros, level: str, device: int, offset: int, exclusive: bool, uffd_wp: bool) -> None:  # noqa: PLR0913, PLR0917  (hypothesis gives them)
    entry = of.swp_entry(device, offset, exclusive << 2 | (uffd_wp and of.new) << 3)
    assume(entry)
    protected = {"uffd_wp": uffd_wp} if of.new else {}
    assert decoded(entry, level, of.kernel) == {
        "level": level, "entry": entry, "state": "swap", "present": False, "swp_exclusive": exclusive,
        "swap_type": device, "swap_offset": offset, **protected,
    }  # fmt: skip


@given(macros, frames)
def test_page_on_its_way(of: Macros, pfn: int) -> None:
    types = of.kernel.swap.types
    number = types.index(("migration", "migration_write"))
    pfn &= (1 << of.physical_bits - of.page_shift) - 1
    young = 1 << of.physical_bits - of.page_shift  # SWP_MIG_YOUNG
    found = decoded(of.swp_entry(number, pfn | young), "pte", of.kernel)
    assert (found["state"], found["kind"], found["pfn"]) == ("migration", "migration_write", pfn)


def test_what_an_architecture_lacks_is_no_column() -> None:
    ours, theirs = (set(pte_magic.decode(1, arch=arch)) for arch in ("arm64", "x86_64"))
    assert not ours & {"nx", "soft_dirty", "pkey", "encrypted", "saved_dirty"}
    assert not theirs & {"uxn", "pxn", "cont", "mapped", "dbm", "gp"}
    assert {"present", "rw", "user", "accessed", "dirty", "global", "special", "uffd_wp", "cache"} <= ours & theirs
    without_pae = set(pte_magic.decode(1, arch="i386"))
    assert not without_pae & {"nx", "soft_dirty", "pkey", "uffd_wp", "devmap", "encrypted"}
    assert set(pte_magic.decode(1, arch="x86_pae")) - without_pae == {"nx"}


@pytest.mark.parametrize(
    ("entry", "level", "encoding", "says"),
    [
        (0x00E8000047B4CF43, "pte", "arm64_4k", "maps 4 KiB at physical address 0x47b4c000"),
        (0x00F8000047B40F43, "pte", "arm64_4k", "maps 4 KiB at physical address 0x47b40000, one of a block of 64 KiB"),
        (0x00F8000040000F41, "pmd", "arm64_4k", "maps 2 MiB at physical address 0x40000000, one of a block of 32 MiB"),
        (0x00F8000047B40F43, "pte", "arm64_16k", "maps 16 KiB at physical address 0x47b40000, one of a block of 2 MiB"),
        (0x00E8000047B4CF43, "pte", "arm64_64k", "maps 64 KiB at physical address 0xc000047b40000"),
        (0x00E8000047B4CF43, "pte", "arm64_4k_lpa2", "maps 4 KiB at physical address 0xc000047b4c000"),
        (0x0000000047B4C003, "pgd", "arm64_16k", "points to the next page table, at physical address 0x47b4c000"),
    ],
)
def test_it_is_described(entry: int, level: str, encoding: str, says: str) -> None:
    (of,) = (found.kernel for found in MACROS if found.encoding == encoding and found.new)
    found = describe(entry, level, of)
    assert found.says == says
    assert sum(part.value << part.low for part in found.parts) == entry


def test_a_release_is_what_tells_where_bits_are() -> None:
    none = MACROS[0].pfn_pte(0x47B4C, MACROS[0].protections["none"])
    assert not MACROS[0].new
    assert list(pte_magic.decode(none, arch="arm64", release="6.9")["state"]) == ["protnone"]
    none = MACROS[1].pfn_pte(0x47B4C, MACROS[1].protections["none"])
    assert list(pte_magic.decode(none, arch="arm64", release="6.10")["state"]) == ["protnone"]
    assert list(pte_magic.decode(none, arch="arm64")["state"]) == ["protnone"]
    assert list(pte_magic.decode(none, arch="arm64", release="6.9")["state"]) != ["protnone"]
