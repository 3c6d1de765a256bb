"""What a script printed, as a DataFrame."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.errors import SystemTapError
from pte_magic.errors.escapes import visible
from pte_magic.notebook.stap.output_table import table

if TYPE_CHECKING:
    from collections.abc import Sequence


def types(text: str) -> list[str]:
    return [str(kind) for kind in table(text).dtypes]


def test_the_first_line_names_the_columns() -> None:
    found = table("pid name\n1 init\n  22   python3\n\n333 sh\n")
    assert list(found.columns) == ["pid", "name"]
    assert found["pid"].tolist() == [1, 22, 333]
    assert found["name"].tolist() == ["init", "python3", "sh"]
    assert list(found.index) == [0, 1, 2]


def test_the_last_column_takes_the_rest() -> None:
    assert table("entry flags\n0x25 present user\n0 none")["flags"].tolist() == ["present user", "none"]


@pytest.mark.parametrize("delimiter", ["\t", ", ", ",", "\t "])
def test_other_delimiters_allow_for_blanks(delimiter: str) -> None:
    found = table(f"a name{delimiter}b\nWeb Content{delimiter}1\n{delimiter}2")
    assert list(found.columns) == ["a name", "b"]
    assert found["a name"].tolist()[0] == "Web Content"
    assert found["a name"].isna().tolist() == [False, True]
    assert found["b"].tolist() == [1, 2]


def test_a_tab_goes_before_a_comma() -> None:
    assert table("a,b\tc\n1,2\t3").to_dict("list") == {"a,b": ["1,2"], "c": [3]}


def test_quotation_marks_keep_a_comma() -> None:
    found = table('name,n\n"a, ""b""",1\n"odd,2\n"fine",3\n')
    assert found["name"].tolist() == ['a, "b"', '"odd', "fine"]
    assert found["n"].tolist() == [1, 2, 3]


def test_lines_may_end_early() -> None:
    found = table("a b c\n1\n2 3\n4 5 6")
    assert found["b"].tolist() == [pd.NA, 3, 5]
    assert found["c"].isna().tolist() == [True, True, False]


def test_lines_end_where_the_script_ended_them() -> None:
    assert table("n name\r\n1 a\x0bb\u2028c\r\n")["name"].tolist() == [r"a\x0bb\u2028c"]


@pytest.mark.parametrize("name", ["\x0b", "\x1c1", "\x85", "\u2028", "a\x0bb", "\u3000b"])
def test_a_name_is_one_word_whatever_is_in_it(name: str) -> None:
    found = table(f"n name m\n1 {name} 2\n")
    assert found.to_dict("list") == {"n": [1], "name": [visible(name)], "m": [2]}


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["1", "-2", "+3"], "Int64"),
        (["0x10", "16", "-0XfF"], "Int64"),
        (["0xffffffffffffffff", "0"], "UInt64"),
        (["9223372036854775807", "-9223372036854775808"], "Int64"),
        (["9223372036854775808"], "UInt64"),
        (["9223372036854775808", "-1"], "str"),
        (["18446744073709551616"], "str"),
        (["1", "2.5"], "float64"),
        (["1e3", "-.5"], "float64"),
        (["1", "0x1g"], "str"),
        (["1_000"], "str"),
        (["nan"], "str"),
        (["٣"], "str"),
    ],
)
def test_types(column: list[str], kind: str) -> None:
    for lines in (column, [*column, ""]):
        assert types("\n".join(["a\tb", *(f"x\t{line}" for line in lines)])) == ["str", kind]


def test_values_of_types() -> None:
    found = table("a b c\n0x8000000153016067 -1 0.5\n-0 0x7f 2")
    assert [found[name].tolist() for name in "abc"] == [[0x8000000153016067, 0], [-1, 127], [0.5, 2.0]]


def test_a_header_alone_is_an_empty_table() -> None:
    found = table("a b\n")
    assert list(found.columns) == ["a", "b"]
    assert len(found) == 0


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_nothing_is_no_table(text: str) -> None:
    with pytest.raises(SystemTapError, match="the script printed nothing, so there is no table; print a line"):
        table(text)


@pytest.mark.parametrize("text", ["a\tb\n1\t2\t3", "a,b\n1,2,3"])
def test_a_line_too_long_is_shown(text: str) -> None:
    with pytest.raises(SystemTapError, match=r"more columns than the first line's 2: '1.+2.+3'"):
        table(text)


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), min_size=1
).filter(lambda word: word == word.strip() and bool(word))
NUMBERS = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.none())
LARGE = st.one_of(st.integers(0, (1 << 64) - 1), st.none())


@given(st.lists(st.tuples(WORDS, NUMBERS, LARGE), max_size=8))
def test_what_is_printed_is_read(rows: Sequence[tuple[str, int | None, int | None]]) -> None:
    printed = io.StringIO()
    printed.write("word\tnumber\tlarge\n")
    for word, number, large in rows:
        texts = ("" if number is None else f"{number}", "" if large is None else f"{large:#x}")
        printed.write("\t".join([f"_{word}", *texts]) + "\n")
    found = table(printed.getvalue())
    assert found["word"].tolist() == [visible(f"_{word}") for word, _, _ in rows]
    for name, at in (("number", 1), ("large", 2)):
        expected = [row[at] for row in rows]
        assert [None if pd.isna(value) else value for value in found[name]] == expected
