"""Where a line may be cut, and where it may not: brackets, quotes, lambdas, comments."""

from __future__ import annotations

import pytest
from hypothesis import given
from typed_lines import expressions

from pte_magic.notebook.typed_words import outside_quotes, plain, split, words


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("a", ["a"]),
        ("a, child.pid a", ["a", "child.pid a"]),
        ("a[1, 2:3],b", ["a[1, 2:3]", "b"]),
        ("np.ones((3, 4)), {1: [2, 3]}, 1234 [heap]", ["np.ones((3, 4))", "{1: [2, 3]}", "1234 [heap]"]),
        ('"one, two", d[\'[\'], e["])"]', ['"one, two"', "d['[']", 'e["])"]']),
        ("7f68aba31000-7f68aba41000, [vdso]", ["7f68aba31000-7f68aba41000", "[vdso]"]),
        (r'"a\", b", c', [r'"a\", b"', "c"]),
        ("'''a', b''', c", ["'''a', b'''", "c"]),
        ("/srv/it's, b", ["/srv/it's", "b"]),
        ("lambda x, y: x, b", ["lambda x, y: x", "b"]),
        ("lambda x, y=lambda z, w: (z, w): x, b", ["lambda x, y=lambda z, w: (z, w): x", "b"]),
        ("lambda x=lambda z, w: z, y=3: x, b", ["lambda x=lambda z, w: z, y=3: x", "b"]),
        ("child.pid lambda x, y: x, b", ["child.pid lambda x, y: x", "b"]),
        ("(a, b)", ["(a, b)"]),
        ("(a), (b)", ["(a)", "(b)"]),
        ("größe, данные", ["größe", "данные"]),
        ("a)], b", ["a)]", "b"]),
        ("/srv/a:b, c", ["/srv/a:b", "c"]),
        ("a,", ["a", ""]),
        ("", [""]),
    ],
)
def test_commas_separate_targets_but_not_within_something(line: str, targets: list[str]) -> None:
    assert split(line) == targets


@given(expressions, expressions)
def test_two_expressions_are_two_targets(one: str, other: str) -> None:
    assert split(one) == [one.strip()]
    assert split(f"{one}, {other}") == [one.strip(), other.strip()]


@given(expressions, expressions)
def test_brackets_and_quotes_keep_a_word_together(one: str, other: str) -> None:
    typed = ["--decode", f"({one})", repr(other), f"d[{one}]({other})", "a"]
    line = "  ".join(typed)
    for end in (" ", ""):
        found = words(f"\t{line}{end}")
        assert [word.text for word in found] == typed
        assert [line[word.start - 1 : word.end - 1] for word in found] == typed


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a", ("a", False)),
        ("a;", ("a", True)),
        (" a ; ", ("a", True)),
        ("a  # why; not", ("a", False)),
        ("a;  # why", ("a", True)),
        ("# only", ("", False)),
        ("[heap] # c", ("[heap]", False)),
        ("/srv/a#b", ("/srv/a#b", False)),
        ("d['# ;']", ("d['# ;']", False)),
        ('d["a # b"] # c', ('d["a # b"]', False)),
        ("d[';'];", ("d[';']", True)),
        ("';'", ("';'", False)),
        ("f'{d[\"a # b\"]}'", ("f'{d[\"a # b\"]}'", False)),
        ("a\xa0+\u2003b\x85", ("a + b", False)),
        ("'\xa0'", ("'\xa0'", False)),
        ("/srv/a\tb\nc", ("/srv/a\tb\nc", False)),  # which may be in the name of a file
        ("", ("", False)),
        (";", ("", True)),
    ],
)
def test_comments_and_semicolons_are_no_part_of_it(line: str, found: tuple[str, bool]) -> None:
    assert plain(line) == found


@given(expressions)
def test_an_expression_is_whole_without_comment_and_semicolon(text: str) -> None:
    assert plain(text) == (text.strip(), False)
    assert plain(f"{text} ; # {text};") == (text.strip(), True)


def test_quoted_is_what_is_in_quotes() -> None:
    assert outside_quotes('a\'$b\' + """{c}""" $d') == "a +  $d"
