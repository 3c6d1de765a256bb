r"""Escapes for invisible characters, such as ``\x1b``: an escaped text cannot act on what shows it.

A name that a process, a file or a host gave itself may contain characters that move a terminal's cursor, end a line or
reverse the order of letters. Backslashes stay as they are, so a text can be escaped twice without harm.
"""

from __future__ import annotations

import unicodedata

# Controls (C0, DEL, C1), format characters (bidirectional ones, tags, zero width), surrogates that stand alone, private
# use, which has a meaning within this package only, line and paragraph separators.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_OF_LETTERS = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")  # Persian, Hindi and emoji are written with
_BYTES = range(0xDC80, 0xDD00)  # what os.fsdecode() makes of bytes that are not UTF-8


def visible(text: str) -> str:
    """Return a text of one line with an escape for each invisible character."""
    return text if text.isprintable() else "".join(map(_visible, text))


def visible_lines(text: str) -> str:
    """Return a text of several lines with an escape for each invisible character except line feed and tab."""
    return "".join(letter if letter in "\n\t" else _visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter.isprintable() or letter in _OF_LETTERS or unicodedata.category(letter) not in _UNSEEN:
        return letter
    if ord(letter) in _BYTES:
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()
