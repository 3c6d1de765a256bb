"""How categories of the page map look: never told apart by colour alone, and the same in Python, CSS and JavaScript."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from pte_magic.views import palette
from pte_magic.views.markup import STATIC
from pte_magic.views.page_map import layers
from pte_magic.views.page_map.page_map import PageMap

TOGETHER = (
    [*palette.STATES.values(), palette.MISSING, palette.MIXED],
    [palette.NOTHING, *dict.fromkeys(palette.SIZES.values()), palette.OTHER, palette.MIXED],
    [palette.SET, palette.NOT_SET, palette.MISSING, palette.MIXED],
    [palette.RUN, palette.NEXT_RUN, palette.NOTHING, palette.MIXED],
    [*palette.PROCESSES, *palette.OWNERS, palette.MIXED],
)


@pytest.mark.parametrize("together", TOGETHER)
def test_no_two_looks_differ_in_colour_alone(together: list[palette.Look]) -> None:
    for distinct in ({look.letter for look in together}, {look.pattern for look in together}):
        assert len(distinct) == len(together)


# Pages and contiguous blocks of kernels with pages of 4, 16 and 64 KiB, in KiB (Linux, arch/arm64/hugetlbpage.rst).
MACHINES = ((4, 64, 2 << 10, 32 << 10, 1 << 20), (16, 2 << 10, 32 << 10, 1 << 20), (64, 2 << 10, 512 << 10, 16 << 20))


@pytest.mark.parametrize("machine", [*MACHINES, (4, 4 << 10)])  # the last: 32-bit x86 without PAE
def test_sizes_of_a_machine_look_different(machine: tuple[int, ...]) -> None:
    assert len({palette.SIZES[kib << 10] for kib in machine}) == len(machine)


def luminance(color: list[float]) -> float:
    """Return how light a colour is: https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    channels = [part / 255 for part in color]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize("page", [0xFF, 0x11], ids=["light", "dark"])  # backgrounds of JupyterLab's themes
def test_where_cells_are_too_small_for_patterns_lightness_tells_them_apart(
    together: list[palette.Look], page: int
) -> None:
    rules = (STATIC / "map.css").read_text(encoding="utf-8")
    full = {
        name: [float(int(code[at : at + 2], 16)) for at in (0, 2, 4)]
        for name, code in re.findall("--pte-map-([a-z]+): #([0-9a-f]{6});", rules)
    }

    def mixed(one: list[float], other: list[float], share: float) -> list[float]:
        return [a + (b - a) * share for a, b in zip(one, other, strict=True)]

    background = [float(page)] * 3
    full |= {"empty": mixed(background, [128.0] * 3, 0.12), "ink": background}
    light = sorted(luminance(mixed(full[look.ground], full[look.ink], look.tone)) for look in together)
    contrast = [(brighter + 0.05) / (darker + 0.05) for darker, brighter in pairwise(light)]
    assert min(contrast) > 1.07  # of neighbours on a scale on which a dozen looks have to find room


def test_javascript_and_style_agree_with_python() -> None:
    script = str(PageMap._esm)
    assert f"const MIXED = {layers.MIXED};" in script
    assert f"const TILE = {palette.TILE};" in script
    rules = (STATIC / "map.css").read_text(encoding="utf-8")
    known = [
        *palette.STATES.values(),
        *palette.SIZES.values(),
        palette.MISSING,
        palette.MIXED,
        palette.OTHER,
        palette.SET,
    ]
    known += [*palette.PROCESSES, *palette.OWNERS]
    assert {name for look in known for name in (look.ground, look.ink)} <= {*re.findall("--pte-map-([a-z]+):", rules)}
