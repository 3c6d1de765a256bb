"""What is shown of a long text, and that all of it is kept."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.notebook.stap import run_and_show
from pte_magic.notebook.stap.run_and_show import _Screen


def shown(parts: list[str], limit: int, *, show: bool = True) -> tuple[str, str, str]:
    """Return what is written to stdout and stderr, and what is kept."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(run_and_show, "_SHOWN", limit)
        patch.setattr(run_and_show, "_END", 10)
        screen = _Screen(show=show)
        for part in parts:
            screen.write(part)
        kept = screen.text()
    return out.getvalue(), err.getvalue(), kept


@given(st.lists(st.text("ab\n", max_size=30), max_size=10), st.integers(1, 60))
def test_all_is_kept_and_the_beginning_is_shown(parts: list[str], limit: int) -> None:
    text = "".join(parts)
    out, err, kept = shown(parts, limit)
    assert kept == text
    if len(text) <= limit:
        assert (out, err) == (text, "")
        return
    assert f"({len(text):,} characters in all)" in err
    assert len(out) <= limit + 10
    assert out.startswith(text[: len(text[:limit].rpartition("\n")[0])])
    end = text[-10:]
    assert out.endswith(end[end.find("\n") + 1 :])


def test_it_is_cut_at_the_end_of_a_line() -> None:
    out, err, _ = shown(["one\ntwo\nthr", "ee\nfour\nfive\n", "six\nseven\n"], 18)
    assert out == "one\ntwo\nthree\nseven\n"
    assert err.startswith("\n… the rest is not shown here; all of it is returned, and -o NAME keeps it …\n")


def test_what_is_left_is_shown_if_it_is_short() -> None:
    assert shown(["one\ntwo\n", "three\n"], 9)[0] == "one\ntwo\nthree\n"


def test_what_becomes_a_table_is_not_shown() -> None:
    assert shown(["one\n", "two\n"], 5, show=False) == ("", "", "one\ntwo\n")
