"""Characters that are not seen, and how they are written."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.errors.escapes import visible, visible_lines

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
JOINERS = "\u200c\u200d"
ANY = st.text(st.characters(exclude_categories=()))  # surrogates, too


@given(ANY)
def test_nothing_is_left_that_is_not_seen(text: str) -> None:
    found = visible(text)
    assert not [letter for letter in found if unicodedata.category(letter) in UNSEEN and letter not in JOINERS]
    assert len(found.splitlines()) <= 1
    assert found.encode() or not text
    assert visible(found) == found


@given(ANY)
def test_lines_stay_lines(text: str) -> None:
    assert visible_lines(text) == "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))))
def test_what_is_seen_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[31m\x07\x7f", r"a\x1b[31m\x07\x7f"),
        ("\x0b\x0c\r\n\t", r"\x0b\x0c\r\n\t"),
        ("\x85\x9b", r"\x85\x9b"),
        ("\u2028\u2029\u202e\u2066\u200f\ufeff", r"\u2028\u2029\u202e\u2066\u200f\ufeff"),
        ("\udcff\ud800", r"\xff\ud800"),
        ("\U000e0041\ue000", r"\U000e0041\ue000"),
        ("приложение", "приложение"),
        ("日本\u3000語", "日本\u3000語"),
        ("\u0646\u0645\u06cc\u200c\u062f", "\u0646\u0645\u06cc\u200c\u062f"),
        ("a\\b", "a\\b"),
    ],
)
def test_as_python_writes_them(text: str, expected: str) -> None:
    assert visible(text) == expected
