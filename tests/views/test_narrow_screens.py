"""Results as text on a screen of less than 60 columns: all of them fit, and each row still says what it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import forked
from handmade import PAGE

import pte_magic

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[tuple[int], np.dtype[np.uint8]]

WIDTHS = (36, 40, 50, 59)


def too_long(text: str, columns: int) -> list[str]:
    """Return the lines that do not fit, but for those that have one word to copy, or a single long one."""
    return [
        line
        for line in text.splitlines()
        if len(line) > columns and len(line.split()) > 1 and not line.lstrip().startswith(("->", "type this:", "`"))
    ]


@pytest.fixture
def array() -> Array:
    """Return an array with its pages."""
    return np.ones(300 * PAGE, np.uint8)


RESULTS: dict[str, Callable[[Array], object]] = {
    "entries": pte_magic.walk,
    "page frames": lambda a: pte_magic.walk(a).frames(),
    "one address": lambda a: pte_magic.walk(int(a.ctypes.data)),
    "runs": lambda a: pte_magic.walk(a).runs(),
    "summary": lambda a: pte_magic.walk(a).summary(),
    "map": lambda a: pte_magic.walk(a).map(),
    "regions": lambda _: pte_magic.walk("all"),
    "variables": lambda a: pte_magic.variables({"a": a, "a_name_that_is_as_long_as_some": list(range(9000))}),
    "why": pte_magic.why,
    "machine": lambda _: pte_magic.machine(),
    "doctor": lambda _: pte_magic.doctor(),
    "decoded entries": lambda _: pte_magic.decode([0x8000000153016067, 0x67], arch="x86_64"),
    "page cache": lambda _: pte_magic.page_cache(sys.executable),
}


def check(result: object, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Check that the text of a result fits, and has some words, whatever the width."""
    for columns in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(columns))
        text = str(result)
        assert too_long(text, columns) == []
        assert set(words) <= set(text.split()), text


@pytest.mark.parametrize("what", RESULTS)
def test_a_result_fits(what: str, array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    check(RESULTS[what](array), monkeypatch)


def test_a_difference_fits(array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pte_magic.walk(array)
    with forked(lambda: None):
        diff = before.diff(pte_magic.walk(array))
    has_entries = before["entry"].notna().all()  # else the walker read none
    check(diff, monkeypatch, *(["write-protected"] if has_entries else []))


def test_shared_memory_fits(array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    with forked(lambda: None):
        found = pte_magic.shared({"array": array, "other": np.ones(PAGE)})
    check(found, monkeypatch, "array")
