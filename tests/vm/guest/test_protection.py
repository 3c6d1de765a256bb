"""Pages that are in memory but may not be touched as one likes: PROT_NONE, protection keys; and the pages of zeros."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import pytest
from agreement import agree, kpageflags
from conftest import only_on, rows
from differences import told
from entry_bits import address_mask, bits
from handmade import (
    EXEC,
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    PAGE,
    READ,
    WRITE,
    NewMap,
    check,
    libc,
    mprotect,
    pfn,
    read,
    smaps,
    words,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = [(PAGE, "pte", NOHUGEPAGE), (HUGE, HUGE_LEVEL, HUGEPAGE)]
KPF_THP, KPF_ZERO_PAGE = 1 << 22, 1 << 24

each_size = pytest.mark.parametrize(("size", "level", "advice"), SIZES, ids=["small", "huge"])


keys = only_on("x86_64", "protection keys")


@each_size
def test_page_without_access_keeps_its_frame(new_map: NewMap, size: int, level: str, advice: int) -> None:
    address = new_map(2 * HUGE, advice=advice)
    write(address, size)
    head = pfn(address)
    mprotect(address, size, NONE)
    found = agree(address, 2 * HUGE).iloc[0]
    assert (found["state"], found["level"], found["size"], found["pfn"]) == ("protnone", level, size, head)
    assert not found["present"]
    entry, has = int(found["entry"]), bits()
    assert entry & (has.valid | has.kept) == has.kept
    assert (~entry if has.inverted else entry) & int(address_mask()) & -size == head * PAGE
    mprotect(address, size, READ | WRITE)
    found = agree(address).iloc[0]
    assert (found["state"], found["pfn"], read(address)) == ("present", head, 1)


def test_zero_page_is_one_for_all(new_map: NewMap) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    assert read(address, 4 * PAGE) == 0
    found = agree(address, 4 * PAGE)
    assert found["special"].all()
    assert found["pfn"].nunique() == 1
    assert kpageflags(int(found["pfn"][0])) & KPF_ZERO_PAGE


def test_huge_zero_page_is_one_for_all(new_map: NewMap) -> None:
    address = new_map(2 * HUGE, advice=HUGEPAGE)
    assert read(address, 2 * HUGE) == 0
    found = agree(address, 2 * HUGE)
    assert list(found["level"]) == [HUGE_LEVEL] * 2
    assert found["pfn"].nunique() == 1
    assert kpageflags(int(found["pfn"][0])) & (KPF_ZERO_PAGE | KPF_THP) == KPF_ZERO_PAGE | KPF_THP
    assert not found["rw"].any()
    assert smaps(address, "AnonHugePages") == 0


@pytest.fixture
def key() -> Iterator[int]:
    """A protection key that allows everything."""
    number = libc.pkey_alloc(0, 0)
    check(number)
    yield number
    check(libc.pkey_free(number))


@keys
@each_size
def test_entry_has_the_protection_key_of_its_region(
    new_map: NewMap, key: int, size: int, level: str, advice: int
) -> None:
    address = new_map(2 * HUGE, advice=advice)
    write(address, size)
    assert agree(address).iloc[0]["pkey"] == 0
    before = rows(address, size)
    check(libc.pkey_mprotect(ctypes.c_void_p(address), ctypes.c_size_t(2 * HUGE), READ | WRITE, key))
    changed = told(before.diff(rows(address, size)))
    assert list(changed) == [address]
    assert f"protection key {key}" in changed[address]  # before 6.2 a huge page is write-protected by this, too
    write(address + HUGE, size)  # this one is new, the other was changed
    found = agree(address, 2 * HUGE)
    there = found[found["state"] == "present"]
    assert list(there["level"]) == [level] * 2
    assert set(there["pkey"]) == {key}
    assert _key_in_smaps(address) == key > 0


@keys
def test_page_that_may_only_be_executed_has_a_key_that_the_kernel_chose(new_map: NewMap) -> None:
    address = new_map(PAGE)
    write(address)
    mprotect(address, PAGE, EXEC)
    found = agree(address).iloc[0]
    assert (found["state"], found["nx"], found["rw"]) == ("present", False, False)
    assert found["pkey"] == _key_in_smaps(address) > 0
    assert words(address)[0] >> 63


def _key_in_smaps(address: int) -> int:
    return smaps(address, "ProtectionKey") >> 10  # no kilobytes, this one
