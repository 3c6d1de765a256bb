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


@given(runs_of_frames)
def test_the_legend_counts_frame_by_frame_and_squares_blend_their_owners(drawn: list[tuple[int, int]]) -> None:
    view, codes = view_of(drawn)
    runs = [(code, len(list(group))) for code, group in groupby(codes)]
    wanted = []
    for code in sorted(set(codes)):
        lengths = [length for found, length in runs if found == code]
        sizes = units.size(sum(lengths) * PAGE), f"{len(lengths):,}", units.size(max(lengths) * PAGE)
        wanted.append((NAMES[code], f"{sum(lengths):,}", *sizes))
    assert [tuple(line["words"]) for line in view.layer["legend"]] == wanted
    for said in (words_of_html(view.html()), view.text().split()):
        joined = " ".join(said)
        for line in wanted:
            assert " ".join(" ".join(line).split()) in joined
        assert f"physical memory: {len(codes):,} page frame{'s' * (len(codes) > 1)}," in joined
        assert "coloured by owner" in joined
    letters = view.text().split("\n\n")[1].replace("\n", "")
    shown = (*palette.PROCESSES[:2], *palette.OWNERS)
    per = next(per for per in (1, 2, 4, 8, 16) if len(codes) <= per * 1024)
    for letter, at in zip(letters, range(0, len(codes), per), strict=True):
        (code, most), *_ = (counts := Counter(codes[at : at + per])).most_common()
        assert letter == (shown[code].letter if 2 * most > counts.total() else "+")


def test_what_is_sent_grows_with_blocks_not_with_page_frames() -> None:
    """Frames of two owners in turn, as the page cache and the kernel have them: in a block they are sorted."""
    view, codes = view_of([(0, 1), (1, 1)] * (1 << 17))
    assert view.grain == 16 * PAGE
    ends = np.frombuffer(view.layer["runs"], "<u4", len(view.layer["runs"]) // 5)
    assert ends.tolist() == [*range(8, len(codes) + 1, 8)]
    assert view.layer["legend"][0]["words"][3] == f"{1 << 17:,}"  # runs are counted before that
    assert set(view.text().split("\n\n")[1]) == {"+", "\n"}


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
    assert '<img alt="physical memory: 4,005 page frames, ' in bundle[0]["text/html"]
    assert view.colors == [view.color] == ["owner"]
