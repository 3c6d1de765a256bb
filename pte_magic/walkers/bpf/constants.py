"""Constants of this host's page tables for eBPF programs: `machine` in page_tables.bpf.h.

One program serves all formats.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pte_magic.linux import geometry, hardware

_MACHINE = struct.Struct("=4Q8I")


class Tables(NamedTuple):
    """The bits that mark an entry that points to a page table, and those of the page table's address.

    Attributes:
        bits: The entry points to a page table if these bits have `value`.
        value: Their value.
        address: Bits of the page table's physical address that are in their place.
        above: Bits that are its upper ones, when shifted to the left.
        shift: The distance of that shift.

    """

    bits: int
    value: int
    address: int
    above: int = 0
    shift: int = 0


TABLES = {
    # Present and not a leaf; bit 7 (PSE) is reserved in pgd and p4d entries. Intel SDM 3A, 4.5.
    "x86_64": Tables(0x81, 0x01, 0x000F_FFFF_FFFF_F000),
    # Valid, and a table's descriptor; a block's ends in 01. Arm ARM (DDI 0487), D8.3; the address as PTE_ADDR_LOW and
    # PTE_ADDR_HIGH, arch/arm64/include/asm/pgtable-hwdef.h. Bits that a format leaves unused are 0.
    "arm64_4k": Tables(0b11, 0b11, 0x0003_FFFF_FFFF_F000),
    "arm64_4k_lpa2": Tables(0b11, 0b11, 0x0003_FFFF_FFFF_F000, 0b11 << 8, 42),
    "arm64_16k": Tables(0b11, 0b11, 0x0003_FFFF_FFFF_C000),
    "arm64_16k_lpa2": Tables(0b11, 0b11, 0x0003_FFFF_FFFF_C000, 0b11 << 8, 42),
    "arm64_64k": Tables(0b11, 0b11, 0x0000_FFFF_FFFF_0000, 0b1111 << 12, 36),
}
"""The constants, by name of the format."""


def physical_mask() -> int:
    """Return the bits of an entry that belong to a physical address on this host."""
    return TABLES[hardware.encoding()].address & ((1 << hardware.physical_bits()) - 1)


def packed(*, use_rcu: bool) -> bytes:
    """Return the program's struct `machine`."""
    format_ = hardware.encoding()
    tables, shifts = TABLES[format_], hardware.shifts()
    index = (1 << geometry.GEOMETRIES[format_].index_bits) - 1
    by_level = [shifts.get(level, 0) for level in geometry.LEVELS]
    return _MACHINE.pack(
        tables.bits, tables.value, physical_mask(), tables.above, tables.shift, index, *by_level, use_rcu
    )
