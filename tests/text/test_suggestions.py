"""What may have been meant by a name that does not exist."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pte_magic.text.suggestions import did_you_mean, undefined

words = st.text(string.ascii_lowercase, min_size=5, max_size=12)


@given(words, st.integers(0, 99), st.sampled_from(["drop", "double", "swap", "upper"]))
def test_one_slip_is_forgiven(word: str, at: int, slip: str) -> None:
    at %= len(word) - 1
    typed = {
        "drop": word[:at] + word[at + 1 :],
        "double": word[:at] + word[at] + word[at:],
        "swap": word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        "upper": word.upper(),
    }[slip]
    assume(typed != word)
    assert did_you_mean(typed, ["0123456789", word, "[98765]"]) == f"; did you mean {word!r}?"


@pytest.mark.parametrize(
    ("word", "names", "found"),
    [
        ("runs", ["--runs", "--frames"], "; did you mean '--runs'?"),
        ("sum", ["--summary", "--map"], "; did you mean '--summary'?"),
        ("bfp", ["auto", "bpf", "helper", "stap", "pagemap"], "; did you mean 'bpf'?"),
        ("dat", ["data", "date"], "; did you mean 'data' or 'date'?"),
        ("größee", ["größe"], "; did you mean 'größe'?"),
        ("x", ["a", "b"], ""),
        ("array", ["raw"], ""),
        ("DTA", ["data"], "; did you mean 'data'?"),
        ("me", ["memory_of_all", "a"], "; did you mean 'memory_of_all'?"),
        ("data", ["data_", "dates"], "; did you mean 'data_'?"),
        ("x" * 101, ["x" * 100], ""),
        ("nonsense", ["data"], ""),
        ("", ["data"], ""),
        ("x" * 100_000, ["x" * 99], ""),
        ("data", [], ""),
    ],
)
def test_the_nearest_are_named(word: str, names: list[str], found: str) -> None:
    assert did_you_mean(word, names) == found


def test_names_of_python_and_not_of_ipython() -> None:
    def said(name: str, *known: str) -> str:
        return undefined(NameError(f"name {name!r} is not defined", name=name), known)

    assert said("memoryviw") == "name 'memoryviw' is not defined; did you mean 'memoryview'?"
    assert said("memoryviw", "memory_view") == "name 'memoryviw' is not defined; did you mean 'memory_view'?"
    assert said("outt", "Out", "--out") == "name 'outt' is not defined; did you mean '--out'?"
    assert said("nope") == "name 'nope' is not defined"  # open is near only by its letters
    assert said("hidde", "_hidden") == "name 'hidde' is not defined"
    assert said("_hidde", "_hidden") == "name '_hidde' is not defined; did you mean '_hidden'?"
