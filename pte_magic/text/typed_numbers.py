"""Numbers as people type and paste them: oopses and /proc print hex without ``0x``, Python and `id` decimals.

Nothing here knows names: the caller of `number` has made sure that the text is not a defined name.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PREFIXED = re.compile(r"0[xob]_?[0-9a-f]+(?:_[0-9a-f]+)*", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+(?:_[0-9a-f]+)*", re.IGNORECASE)
HALF_A_RANGE = re.compile(r"(?:0x)?[0-9a-f]{5,16}\s*-|-\s*(?:0x)?[0-9a-f]{5,16}", re.IGNORECASE)
"""A range of which the start or the end is not typed."""
_PADDED = {8, 16}
"""Digits of ``%08lx`` and ``%016lx``."""
_LIKE_A_NAME = 8
"""Digits from which on a text that begins with a letter is a number: a shorter one is rather a name mistyped."""
_LONGEST = 1000
"""Digits from which on it cannot be a number that somebody meant; Python refuses decimals of more than 4300."""


class TypedNumber(NamedTuple):
    """The number that a text stands for.

    Attributes:
        value: The number.
        note: How the text was read, and what to type for the other reading; empty if there is no other.

    """

    value: int
    note: str = ""


def number(text: str, *, digits_are_hex: bool, bits: int = 64) -> TypedNumber | None:
    """Return the number in a text, in the base in which people write it; None if it is not just a number.

    ==========================  ========================================================
    ``0x67``, ``0o147``         by the prefix, as in Python
    ``800fffffa7598063``        hex: a letter among the digits, ``153016e7`` included
    ``ffff888000000000``        hex, from 8 digits on; shorter ones, as ``c0de``, are names
    ``00400000``                hex, like numbers with leading zeros in /proc/PID/maps
    ``106923061``               either: `digits_are_hex` decides, and a note says so
    ``1_000``                   decimal, as in Python
    ==========================  ========================================================

    Args:
        text: The text.
        digits_are_hex: True if digits from 0 to 9 alone are hex, where that has no more than `bits`; else they are
            decimal, as `id` and Python show numbers.
        bits: The most bits of the number.

    """
    text = text.strip()
    if _PREFIXED.fullmatch(text):
        return _prefixed(text)
    if not _HEX.fullmatch(text) or (text[0].isalpha() and len(text) < _LIKE_A_NAME) or len(text) > _LONGEST:
        return None
    plain = text.replace("_", "")
    if not plain.isdecimal() or (plain[0] == "0" and len(plain) > 1):
        return TypedNumber(int(plain, 16))
    decimal, hexadecimal = int(plain), int(plain, 16)
    if decimal == hexadecimal or plain != text:
        return TypedNumber(decimal)
    if digits_are_hex and not hexadecimal >> bits:
        return TypedNumber(hexadecimal, f"{text} was read as hex, {hexadecimal:#x}; for the decimal type {decimal:#x}")
    as_hex = f"; for hex type {hexadecimal:#x}" if not hexadecimal >> bits else ""
    return TypedNumber(decimal, f"{text} was read as decimal, {decimal:#x}{as_hex}" if not decimal >> bits else "")


def _prefixed(text: str) -> TypedNumber | None:
    try:
        value = int(text, 0)
    except ValueError:  # 0b2 and 0o9 are not Python's; the first is hex without a prefix
        return TypedNumber(int(text, 16)) if _HEX.fullmatch(text) else None
    if text[1] in "bB" and len(text) in _PADDED:
        return TypedNumber(value, f"{text} was read as binary, {value:#x}; for hex type 0x{text}")
    return TypedNumber(value)


def is_hex(text: str) -> bool:
    """Tell whether a text has only hexadecimal digits, without a prefix."""
    return _HEX.fullmatch(text) is not None
