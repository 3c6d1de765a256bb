"""The summary on the screen: units and shares of what was made on purpose; the data are numbers."""

from __future__ import annotations

import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
from handmade import NOHUGEPAGE, PAGE, NewMap, mprotect, write

import pte_magic
from pte_magic import Summary
from pte_magic.text import units


@pytest.mark.parametrize("kind", ["text", "html"])
def test_sizes_have_units_and_a_share(new_map: NewMap, kind: str) -> None:
    start = new_map(8 * PAGE, advice=NOHUGEPAGE)
    write(start, 6 * PAGE)
    found = pte_magic.walk(start, start + 8 * PAGE).summary()
    text = repr(found) if kind == "text" else re.sub("<[^>]+>", " ", unescape(str(found._repr_html_())))
    words = " ".join(text.split())
    assert "state size entries bytes share" in words
    assert f"present {units.size(PAGE)} 6 {units.size(6 * PAGE)} 100.0%" in words
    assert f"none - 2 {units.size(2 * PAGE)} -" in words


def test_shares_are_of_what_is_there_and_not_of_addresses(new_map: NewMap) -> None:
    start = new_map(8 * PAGE, advice=NOHUGEPAGE)
    write(start, 3 * PAGE)
    mprotect(start, PAGE, 0)  # state protnone
    found = pte_magic.walk(start, start + 8 * PAGE).summary()
    words = " ".join(repr(found).split())
    assert f"present {units.size(PAGE)} 2 {units.size(2 * PAGE)} 66.7%" in words
    assert f"protnone {units.size(PAGE)} 1 {units.size(PAGE)} 33.3%" in words
    assert f"none - 5 {units.size(5 * PAGE)} -" in words


def test_the_data_are_numbers_and_results_of_pandas_are_shown_by_pandas(new_map: NewMap) -> None:
    start = new_map(2 * PAGE, advice=NOHUGEPAGE)
    write(start, 2 * PAGE)
    found = pte_magic.walk(start, start + 2 * PAGE).summary()
    assert type(found) is Summary
    assert found.loc[("present", PAGE), "bytes"] == 2 * PAGE
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == {"entries": "int64", "bytes": "uint64"}
    with pd.option_context("display.notebook_repr_html", False):  # noqa: FBT003  (pandas' own)
        assert found._repr_html_() is None
    for other in (found[["bytes"]], found.iloc[:0], found.reset_index(), found / np.float64(3)):
        assert "share" not in repr(other)
