"""Frames of entries for maps: made by hand or drawn at random, and what plain loops find in them."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.linux.geometry import LEVELS
from pte_magic.text import units
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic import PteFrame


PAGE, MIB2, START = 4096, 2 << 20, 1 << 40
GUARD = 0xFFFFFFFFFFFFF600


def images(html: str) -> list[str]:
    """Return the SVG of all images in some HTML."""
    found = re.findall(r'<img [^>]*src="data:image/svg\+xml;base64,([^"]*)">', html)
    return [base64.b64decode(data).decode() for data in found]


def page(pfn: int, flags: int = 0x67) -> int:
    return pfn << 12 | flags | 1 << 63


def made(spans: Sequence[tuple[int, int, str, Sequence[int]]], pid: int = 1) -> PteFrame:
    """Return the frame of some spans: first address, size, level, raw entries."""
    rows = [(vaddr, size, len(raw), LEVELS.index(level)) for vaddr, size, level, raw in spans]
    entries = np.array([entry for *_, raw in spans for entry in raw], np.uint64)
    return pte_frame.build(Entries(entries, np.array(rows, SPAN), "x86_64", "bpf"), kernel.running(), pid=pid)


def pages(*raw: int) -> PteFrame:
    return made([(START, PAGE, "pte", raw)])


KINDS = {
    "page": page(0),
    "clean": page(0, 0x25),
    "none": 0,
    "swap": 0x7FF_FFFF_FFE0,
    "guard": GUARD,
    "huge": page(0, 0xE7),
}
pieces = st.lists(
    st.tuples(
        st.sampled_from([*KINDS]),
        st.integers(1, 5),  # entries
        st.sampled_from(["on", "back"]),  # whether the frames follow those before
        st.booleans(),  # whether there is a gap before it
    ),
    max_size=9,
)


def build(drawn: list[tuple[str, int, str, bool]]) -> PteFrame:
    spans, at, pfn = [], START, 1 << 20
    for kind, count, frames, gap in drawn:
        size = MIB2 if kind == "huge" else PAGE
        at = -(-(at + gap * size) // size) * size
        pfn = (pfn if frames == "on" else pfn - 4096) & -(size // PAGE)
        step = size // PAGE if kind in {"page", "clean", "huge"} else 0
        raw = [KINDS[kind] + (pfn << 12 if step else 0) + (i * step << 12) for i in range(count)]
        spans.append((at, size, "pmd" if kind == "huge" else "pte", raw))
        at, pfn = at + count * size, pfn + count * step
    return made(spans)


def expanded(layer: dict[str, Any]) -> list[str]:
    """Return the category of every cell, of what was sent."""
    count = len(layer["runs"]) // 5
    ends, codes = np.frombuffer(layer["runs"], "<u4", count), np.frombuffer(layer["runs"], np.uint8, offset=4 * count)
    names = [category["words"][0] for category in layer["legend"]]
    return [names[code] for code, length in zip(codes, np.diff(ends, prepend=0), strict=True) for _ in range(length)]


def values(table: PteFrame, color: str) -> list[str]:
    """Return what a colouring has to say of each row."""
    if color == "state":
        return [*table["state"]]
    if color == "size":
        rows = zip(table["size"], table["state"], strict=True)
        return ["none" if state == "none" else units.size(size) for size, state in rows]
    words = {True: color, False: f"not {color}"}
    return ["missing" if value is pd.NA else words[value] for value in table[color]]


def contiguous(table: PteFrame) -> list[int]:
    """Return the number of the physically contiguous run of each row, 0 where there is none."""
    found: list[int] = []
    number, after = 0, (0, 0)
    for vaddr, size, pfn, state in zip(*(table[name] for name in ("vaddr", "size", "pfn", "state")), strict=True):
        if state not in {"present", "protnone"}:
            found.append(0)
            after = (0, 0)
            continue
        number += (vaddr, pfn) != after
        found.append(number)
        after = (vaddr + size, pfn + size // PAGE)
    return found
