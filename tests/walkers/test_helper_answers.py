"""What can be an answer of the helper, and what cannot: every walk there is, and walks with a number changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from handmade import PAGE, PTES
from hypothesis import given
from hypothesis import strategies as st
from test_disjoint_rows import SIZES, pushed, steps

from pte_magic.walkers import helper_answers

WAYS = {"one by one": 1 << 30, "all at once": 0}
"""How many spans are few."""


def judged(  # noqa: PLR0913, PLR0917  (an answer, and what was asked)
    spans: Any, n: int, start: int, end: int, reached: int, way: str, *, tables: bool
) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(helper_answers, "_FEW", WAYS[way])
        return helper_answers.wrong(spans.tobytes(), n, start, end, reached, tables=tables)


def ends(runs: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Return the runs at which a walk ended: those that no run of a lower level follows, at the same place or later."""
    return [
        run
        for run, behind in zip(runs, [*runs[1:], (1 << 62, 0, 0, 0)], strict=True)
        if not (behind[3] > run[3] and behind[0] < run[0] + run[1] * run[2])
    ]


@given(steps(), st.sampled_from(sorted(WAYS)), st.booleans())
def test_every_walk_can_be_an_answer(walk: Any, way: str, tables: bool) -> None:
    start, end, runs = walk
    spans = pushed(runs if tables else ends(runs))
    reached = int(spans[-1]["vaddr"] + spans[-1]["size"] * spans[-1]["count"])
    assert judged(spans, int(spans["count"].sum()), start, end, reached, way, tables=tables) == ""


CHANGES = {
    "vaddr": (0, PAGE, 8, 1 << 63, (1 << 64) - PAGE),
    "size": (0, 1, PAGE, PTES * PAGE, 1 << 63),
    "count": (0, 1, 2, 0xFFFF_FFFF),
    "level": (-1, 0, 1, 3, 4, 5, -(1 << 31), 0x7FFF_FFFF),
}


@given(steps(), st.data(), st.booleans())
def test_whatever_is_believed_covers_what_was_asked(walk: Any, data: st.DataObject, tables: bool) -> None:
    """Both ways of looking at it are of one mind, and nothing overflows."""
    start, end, runs = walk
    spans = pushed(runs if tables else ends(runs))
    n = int(spans["count"].sum())
    reached = int(spans[-1]["vaddr"] + spans[-1]["size"] * spans[-1]["count"])
    name = data.draw(st.sampled_from(sorted(CHANGES)))
    at = data.draw(st.integers(0, len(spans) - 1))
    spans[name][at] = data.draw(st.sampled_from(CHANGES[name]))
    said = {judged(spans, n, start, end, reached, way, tables=tables) for way in WAYS}
    assert len(said) == 1
    if said == {""}:
        came = start
        rows = spans.tolist()
        for (vaddr, size, count, level), below in zip(rows, [*rows[1:], (1 << 63, 0, 0, 0)], strict=True):
            assert SIZES[level] == size
            assert vaddr % size == 0
            assert vaddr <= came
            leads = tables and below[3] > level and below[0] < vaddr + size * count
            came = max(came, vaddr + size * (count - leads))
        assert came == reached < end + max(SIZES.values())
        assert int(spans["count"].sum(dtype=np.uint64)) == n
