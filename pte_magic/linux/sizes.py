"""Page sizes of this host: the smallest page, and those that entries of upper levels map."""

from __future__ import annotations

import functools

from pte_magic.linux import hardware

_UNITS = "kmgt"  # of 1024, 1024**2 … bytes
_GIB_SHIFT = 30


@functools.cache
def by_level() -> dict[str, int]:
    """Return the bytes that an entry maps, for each level at which Linux maps pages; smallest first.

    ``{"pte": 4096, "pmd": 2097152, "pud": 1073741824}`` on x86-64. Pages of 1 GiB need an entry of that size, which
    arm64 has with pages of 4 KiB only (``pud_sect_supported()``, arch/arm64/include/asm/vmalloc.h), and 32-bit x86 not
    even with PAE (Intel SDM 3A, 4.4).
    """
    shifts = sorted((shift, level) for level, shift in hardware.shifts().items())
    found = shifts[:2]
    if hardware.machine() != "x86_32":
        found += [pair for pair in shifts[2:] if pair[0] == _GIB_SHIFT]
    return {level: 1 << shift for shift, level in found}


def huge() -> int:
    """Return the size of the smallest huge page, such as THP: an entry one level above the lowest maps it."""
    return list(by_level().values())[1]


def short(size: int) -> str:
    """Return a size as in names of columns: ``4k``, ``2m``, ``1g``."""
    unit = (size.bit_length() - 1) // 10
    return f"{size >> 10 * unit}{_UNITS[unit - 1]}"


def words(name: str) -> str:
    """Return the size of a `short` text in words: ``2 MiB`` for ``2m``."""
    return f"{name[:-1]} {name[-1].upper()}iB"
