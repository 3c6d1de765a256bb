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


def test_words_have_lines_of_their_own_where_there_is_no_room_beside_the_others() -> None:
    table = {"vaddr": ["0x7f0000001000", "0x7f0000002000"], "entry": ["0x8000000153016067"] * 2,
             "set": ["present rw user accessed dirty nx", "present"], "change": ["", "moved"]}  # fmt: skip
    rules = Rules(keep=tuple(table), wrap=("set", "change"))
    found = fitted(table, ["0", "1"], 36, rules)
    assert found.is_narrow
    assert found.left_out == {}
    assert found.lines == [
        "         vaddr              entry",
        "  set",
        "  change",
        "0x7f0000001000 0x8000000153016067",
        "  present rw user accessed dirty nx",
        "0x7f0000002000 0x8000000153016067",
        "  present",
        "  moved",
    ]
    *_, last = fitted(table, ["0", "1"], 20, rules).lines
    assert last == "  moved"


def test_what_is_cut_is_shorter_before_a_column_gives_way_that_is_kept() -> None:
    table = {"pid": ["12345"], "command": ["python -m something with many words"], "pss": ["1.23 MiB"]}
    rules = Rules(keep=tuple(table), cut=("command",), last=("pss",))
    assert [len(line) for line in fitted(table, None, 26, rules).lines] == [26, 26]
    assert fitted(table, None, 24, rules).left_out == {"pss": ["1.23 MiB"]}
