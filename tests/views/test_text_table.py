"""Tables as text: no line is longer than the screen, and no word is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pte_magic.views.text_table import Rules, common, fitted

WORD = st.text("abc", min_size=1, max_size=8)
NAME = st.text("xyz", min_size=1, max_size=8)
CELL = st.lists(WORD, min_size=1, max_size=6).map(" ".join)
TABLE = st.integers(1, 5).flatmap(
    lambda n: st.dictionaries(NAME, st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=6)
)


@given(TABLE, st.integers(20, 300), st.booleans())
def test_no_line_is_longer_and_no_word_is_lost(table: dict[str, list[str]], width: int, indexed: bool) -> None:
    n = len(next(iter(table.values())))
    index = [str(row) for row in range(n)] if indexed else None
    first, *_ = table
    found = fitted(table, index, width, Rules(keep=(first,), wrap=tuple(table)))
    assert all(len(line) <= width for line in found.lines)
    assert set(found.left_out) < set(table)
    shown = [text for name, cells in table.items() if name not in found.left_out for text in (name, *cells)]
    expected = sorted(word for text in shown for word in text.split())
    assert sorted(word for line in found.lines for word in line.split() if not word.isdecimal()) == expected


@given(TABLE)
def test_what_fits_is_a_line_for_each_row(table: dict[str, list[str]]) -> None:
    found = fitted(table, None, 1000, Rules(wrap=tuple(table)))
    rows = zip(*([name, *cells] for name, cells in table.items()), strict=True)
    assert [line.split() for line in found.lines] == [" ".join(row).split() for row in rows]
    assert not found.is_narrow


def test_columns_give_way_in_their_order_and_what_is_the_same_is_told() -> None:
    table = {"a": ["1" * 9] * 2, "b": ["2" * 9, "3" * 9], "c": ["4" * 9] * 2}
    rules = Rules(("b", "a"), ("c",))
    assert list(fitted(table, None, 40, rules).left_out) == []
    narrow = fitted(table, None, 20, rules)
    assert (list(narrow.left_out), narrow.notes([])) == (["b"], ["no room here for b"])
    narrower = fitted(table, None, 10, rules)
    assert narrower.notes(["[2 rows]", "more"]) == ["no room here for b", "[2 rows; a 111111111]", "more"]
    assert narrower.lines == ["        c", "4" * 9, "4" * 9]


def test_what_may_be_cut_keeps_both_ends() -> None:
    text = "/usr/bin/" + "-" * 90 + "/last"
    *_, line = fitted({"command": [text], "pid": ["7"]}, None, 40, Rules(keep=("pid",), cut=("command",))).lines
    assert len(line) == 40
    assert line.startswith("/usr/bin/")
    assert line.split()[0].endswith("/last")


def test_common_words_are_those_of_each_row_that_has_any() -> None:
    assert common([["a", "b", "c"], [], ["c", "a"]]) == ("a", "c")
    assert common([[], []]) == ()


def test_a_column_that_gives_way_for_two_reasons_does_so_once() -> None:
    found = fitted({"a": ["1" * 9], "b": ["2" * 9]}, None, 10, Rules(("b", "b"), ("a",)))
    assert (list(found.left_out), found.lines) == (["b"], ["        a", "1" * 9])
