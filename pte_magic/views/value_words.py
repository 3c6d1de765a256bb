"""The words for the values of a table: addresses and entries in hex, sizes with units, bits as 0 and 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.text.units import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MISSING = "-"
UNSEEN = "?"
"""The sign for a digit that is hidden."""
_HEX = {
    **dict.fromkeys(("vaddr", "address"), "#014x"),
    **dict.fromkeys(("entry", "entry_before", "entry_after", "before", "after", "flipped"), "#018x"),
    **dict.fromkeys(("pfn", "pfn_before", "pfn_after", "swap_offset", "page_flags"), "#x"),
}
_SHARING = {"shared", "copied_here", "copied_there", "copied_either", "never_shared"}
_OF_NAMES = {"huge", "frees", "also"}
_SIZES = {
    *("size", "mapped", "bytes", "resident", "contiguous", "swapped", "page_tables", "pss", "uss"),
    *_SHARING,
    *_OF_NAMES,
}
_RESIDENT = "resident_"  # what follows is the size of pages, which machines have of their own


def is_hex(name: str) -> bool:
    """Tell whether numbers in the column of this name are shown in hex."""
    return name in _HEX


def is_size(name: str) -> bool:
    """Tell whether numbers in the column of this name are bytes."""
    return name in _SIZES or name.startswith(_RESIDENT)


def of_number(name: str) -> Callable[[int], str] | None:
    """Return what makes the word for a 64-bit number in the column of this name; None if it is just a number."""
    if name in _HEX:
        return lambda value: format(value, _HEX[name])
    return size if is_size(name) else None


def marked(entries: Iterable[str], hidden: Iterable[int]) -> list[str]:
    """Return texts of entries with a question mark for each hexadecimal digit all of whose bits are hidden."""
    return [_marked(text, bits) for text, bits in zip(entries, hidden, strict=True)]


def _marked(text: str, bits: int) -> str:
    if not text.startswith("0x"):  # a missing entry
        return text
    digits = text.removeprefix("0x")
    taken_digits = f"{bits:0{len(digits)}x}"
    return "0x" + "".join(UNSEEN if of == "f" else digit for digit, of in zip(digits, taken_digits, strict=True))
