"""How categories of the page map look: never told apart by colour alone, and the same in Python, CSS and JavaScript."""

from __future__ import annotations

import re

import pytest

from pte_magic.views import palette
from pte_magic.views.markup import STATIC
from pte_magic.views.page_map import squares
from pte_magic.views.page_map.page_map import PageMap

TOGETHER = (
    [*palette.STATES.values(), palette.MISSING],
    [palette.NOTHING, *dict.fromkeys(palette.SIZES.values()), palette.OTHER],
    [palette.SET, palette.NOT_SET, palette.MISSING],
    [palette.RUN, palette.NEXT_RUN, palette.NOTHING],
    [*palette.PROCESSES, *palette.OWNERS],
)


@pytest.mark.parametrize("together", TOGETHER)
def test_no_two_looks_differ_in_colour_alone(together: list[palette.Look]) -> None:
    for distinct in ({look.letter for look in together} - {palette.MIXED}, {look.pattern for look in together}):
        assert len(distinct) == len(together)


# Pages and contiguous blocks of kernels with pages of 4, 16 and 64 KiB, in KiB (Linux, arch/arm64/hugetlbpage.rst).
MACHINES = ((4, 64, 2 << 10, 32 << 10, 1 << 20), (16, 2 << 10, 32 << 10, 1 << 20), (64, 2 << 10, 512 << 10, 16 << 20))


@pytest.mark.parametrize("machine", [*MACHINES, (4, 4 << 10)])  # the last: 32-bit x86 without PAE
def test_sizes_of_a_machine_look_different(machine: tuple[int, ...]) -> None:
    assert len({palette.SIZES[kib << 10] for kib in machine}) == len(machine)


def test_javascript_and_style_agree_with_python() -> None:
    script = str(PageMap._esm)
    assert f"const STEPS = {squares.STEPS};" in script
    assert f'const PATTERN = {{"side": {palette.TILE}, ' in script
    rules = (STATIC / "map.css").read_text(encoding="utf-8")
    known = [
        *palette.STATES.values(),
        *palette.SIZES.values(),
        palette.MISSING,
        palette.OTHER,
        palette.SET,
    ]
    known += [*palette.PROCESSES, *palette.OWNERS]
    assert {name for look in known for name in (look.ground, look.ink)} <= {*re.findall("--pte-map-([a-z]+):", rules)}
