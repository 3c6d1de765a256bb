"""`cut`: a short text is unchanged, and of a long one what is kept was there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pte_magic.errors.cut import cut


@given(st.text(st.characters(exclude_characters="…"), max_size=40), st.integers(2, 40))
def test_a_text_is_whole_or_says_that_it_is_not(text: str, most: int) -> None:
    for found in (cut(text, most), cut(text, most, in_middle=True)):
        assert (found == text) is (len(text) <= most)
        assert len(found) <= most + 1


def test_the_beginning_is_kept_or_beginning_and_end() -> None:
    assert cut("0123456789", 4) == "0123…"
    assert cut("0123456789", 4, in_middle=True) == "01…89"
    assert cut("0123", 4) == cut("0123", 4, in_middle=True) == "0123"
