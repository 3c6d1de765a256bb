"""The picture of physical memory by owner, against plain loops over its frames."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.api.machine.owners import KINDS
from pte_magic.text import units
from pte_magic.views import palette
from pte_magic.views.page_map.physical_map import PhysicalMap

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 4096
NAMES = ("python (pid 7)", "<b> (pid 8)", *KINDS)
runs_of_frames = st.lists(st.tuples(st.integers(0, len(NAMES) - 1), st.integers(1, 700)), min_size=1, max_size=12)


def view_of(drawn: Sequence[tuple[int, int]], names: tuple[str, ...] = NAMES) -> tuple[PhysicalMap, list[int]]:
    codes = [code for code, length in drawn for _ in range(length)]
    return PhysicalMap(names, np.array(codes, np.uint8)), codes


def per_block(codes: Sequence[int]) -> int:
    return next(per for per in (1, 2, 4, 8, 16) if len(codes) <= per * 1024)


@given(runs_of_frames)
def test_the_legend_counts_frame_by_frame_and_the_blocks_by_who_has_most(drawn: list[tuple[int, int]]) -> None:
    view, codes = view_of(drawn)
    per = per_block(codes)
    most = [max(counts, key=lambda code: (counts[code], -code)) for counts in blocks_of(codes, per)]
    runs = [(code, len(list(group))) for code, group in groupby(codes)]
    wanted = []
    for code in sorted(set(codes)):
        lengths = [length for found, length in runs if found == code]
        sizes = units.size(sum(lengths) * PAGE), f"{len(lengths):,}", units.size(max(lengths) * PAGE)
        wanted.append((NAMES[code], f"{most.count(code):,}", *sizes))
    assert [tuple(line["words"]) for line in view.layer["legend"]] == wanted
    for said in (words_of_html(view.html()), view.text().split()):
        joined = " ".join(said)
        for line in wanted:
            assert " ".join(" ".join(line).split()) in joined
        assert f"physical memory: {len(most):,} block{'s' * (len(most) > 1)}," in joined
        assert "coloured by largest owner" in joined
    letters = view.text().split("\n\n")[1].replace("\n", "")
    shown = (*palette.PROCESSES[:2], *palette.OWNERS)
    assert letters == "".join(shown[code].letter for code in most)


def blocks_of(codes: Sequence[int], per: int) -> list[Counter[int]]:
    return [Counter(codes[at : at + per]) for at in range(0, len(codes), per)]


def words_of_html(html: str) -> list[str]:
    return unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)).split()


def test_owners_have_the_look_of_their_kind_however_many_processes_there_are() -> None:
    for count in range(len(palette.PROCESSES) + 1):
        names = (*(f"{number} (pid {number})" for number in range(count)), *KINDS)
        view, _ = view_of([(code, 2) for code in range(len(names))], names)
        wanted = [*palette.PROCESSES[:count], *palette.OWNERS]
        assert [line["pattern"] for line in view.layer["legend"]] == [look.pattern for look in wanted]


def test_a_notebook_keeps_text_and_html() -> None:
    view, _ = view_of([(0, 5), (3, 4000)])
    bundle: Any = view._repr_mimebundle_()
    assert set(bundle[0]) == {"text/plain", "text/html"}
    assert bundle[0]["text/plain"] == repr(view) == view.text()
    assert '<img alt="physical memory: 1,002 blocks, ' in bundle[0]["text/html"]
    assert view.colors == [view.color] == ["largest owner"]
