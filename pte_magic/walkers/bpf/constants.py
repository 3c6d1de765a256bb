"""Constants of this host's page tables for the eBPF program: `machine` in walk.bpf.c, one program for all formats."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pte_magic.linux import geometry, hardware

_MACHINE = struct.Struct("=4Q8I")


class Tables(NamedTuple):
    """How an entry that points to a table is told from one at which a walk ends, and where the table is.

    Attributes:
        bits: It is a table's if these bits of it are `value`.
        value: See there.
        address: The bits of the table's physical address that are in their place.
        above: The bits that, shifted to the left, are its upper ones.
        shift: By how much.

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
"""By name of the format."""


def physical_mask() -> int:
    """Return the bits of an entry that are of a physical address on this machine."""
    return TABLES[hardware.encoding()].address & ((1 << hardware.physical_bits()) - 1)


def packed(*, use_rcu: bool) -> bytes:
    """Return `machine` as the program has it."""
    format_ = hardware.encoding()
    tables, shifts = TABLES[format_], hardware.shifts()
    index = (1 << geometry.GEOMETRIES[format_].index_bits) - 1
    by_level = [shifts.get(level, 0) for level in geometry.LEVELS]
    return _MACHINE.pack(
        tables.bits, tables.value, physical_mask(), tables.above, tables.shift, index, *by_level, use_rcu
    )
