"""The text of one address, made without pandas: the same as for a frame."""

from __future__ import annotations

import ctypes

import pandas as pd
import pytest
from handmade import PAGE, NewMap

import pte_magic
from pte_magic.views import frame_view


@pytest.mark.parametrize("tables", [True, False])
def test_a_frame_of_one_address_reads_as_any_other_frame(
    new_map: NewMap, walker: str, monkeypatch: pytest.MonkeyPatch, *, tables: bool
) -> None:
    """For other frames, pandas finds what is empty and what is the same in all rows."""
    start = new_map(2 * PAGE)
    ctypes.memset(start, 1, PAGE)
    for address in (start, start + PAGE, 0x1000):
        frame = pte_magic.walk(address, walker=walker, tables=tables)
        assert frame_view.is_of_one_address(frame)
        said = str(frame)
        with monkeypatch.context() as patch:
            patch.setattr(frame_view, "is_of_one_address", lambda _: False)
            assert str(frame) == said


def test_a_frame_that_somebody_changed_is_not_taken_for_one_address(new_map: NewMap) -> None:
    frame = pte_magic.walk(new_map(PAGE))
    assert frame_view.is_of_one_address(frame)
    assert not frame_view.is_of_one_address(frame.assign(mine=1))
    assert not frame_view.is_of_one_address(frame.set_index(frame.index + 1))
    with pd.option_context("display.max_rows", len(frame)):
        assert frame_view.is_of_one_address(frame)
    with pd.option_context("display.max_rows", max(len(frame) - 1, 1)):
        assert frame_view.is_of_one_address(frame) == (len(frame) == 1)
