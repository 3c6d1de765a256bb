"""The looks of a page map's categories: a letter in text, a colour *and* a pattern in pictures.

Colour alone never carries a meaning. Text, SVG and JavaScript all render these looks.
"""

from __future__ import annotations

from typing import NamedTuple

TILE = 8
"""Width and height of the tile that a pattern repeats, in pixels."""
STROKE, CAP = 1.5, "round"
"""Width in pixels, and form of the ends, of a pattern's lines."""


class Look(NamedTuple):
    """The look of one category.

    Attributes:
        letter: Its square in text.
        ground: Its colour: a custom property ``--pte-map-GROUND`` of map.css.
        pattern: The drawing on it, as an SVG path in a tile of `TILE` x `TILE`; may be empty.
        tone: The share of `ink` in its colour where squares are too small for patterns, from 0 to 1: so looks that may
            be neighbours differ in lightness.

    """

    letter: str
    ground: str
    pattern: str = ""
    tone: float = 0.0

    @property
    def ink(self) -> str:
        """The custom property for the pattern's colour: the page's background, cut out of a full colour."""
        return "line" if self.ground == "empty" else "ink"


_UPHILL = "M-1 1L1 -1M-1 9L9 -1M7 9L9 7"
_DOWNHILL = "M-1 7L1 9M-1 -1L9 9M7 -1L9 1"
_ACROSS = "M0 4H8"
_DOWN = "M4 0V8"
_SPECK = "M4 4h.01"
_DOTS = "M2 2h.01M6 6h.01"
_ZIGZAG = "M-1 1L2 4L6 0L9 3M-1 5L2 8L6 4L9 7"

NOTHING = Look(".", "empty", _SPECK)
MISSING = Look("?", "empty", _DOWNHILL, 0.28)
MIXED = Look("+", "grey", "M0 2h4M4 6h4", 0.36)
OTHER = Look("o", "grey", _DOTS, 0.7)

STATES = {
    "none": NOTHING,
    "present": Look("#", "blue"),
    "protnone": Look("n", "violet", _DOWN, 0.24),
    "swap": Look("s", "orange", _UPHILL, 0.56),
    "migration": Look("m", "teal", _ZIGZAG, 0.46),
    "device": Look("d", "green", _ACROSS + _DOWN, 0.8),
    "hwpoison": Look("x", "red", _UPHILL + _DOWNHILL, 0.13),
    "marker": Look("%", "brown", _DOTS, 0.72),
}
"""The look of each value of the ``state`` column."""

_SMALL, _MEGA, _GIGA = Look("k", "blue"), Look("M", "green", _ACROSS, 0.2), Look("G", "orange", _ACROSS + _DOWN, 0.53)
_BLOCK, _LARGE = Look("K", "teal", _ZIGZAG, 0.28), Look("L", "violet", _DOWN, 0.1)
SIZES = {
    4 << 10: _SMALL,
    16 << 10: _SMALL,
    64 << 10: _BLOCK,
    2 << 20: _MEGA,
    4 << 20: _MEGA,
    32 << 20: _LARGE,
    512 << 20: _LARGE,
    1 << 30: _GIGA,
    16 << 30: _GIGA,
}
"""The look of each size of a page or contiguous block, in bytes. All sizes of one host look different."""

SET, NOT_SET = Look("#", "blue"), Look("-", "orange", _ACROSS, 0.53)
"""The looks of a set bit and a clear one."""

RUN, NEXT_RUN = Look("#", "blue"), Look("=", "orange", _UPHILL, 0.53)
"""The looks of runs of consecutive page frames: two, in turn, so that the ends of runs are visible."""

PROCESSES = (
    Look("1", "blue"),
    Look("2", "orange", _UPHILL, 0.81),
    Look("3", "green", _ACROSS + _DOWN, 0.52),
    Look("4", "violet", _DOWN, 0.46),
    Look("5", "red", _UPHILL + _DOWNHILL, 0.15),
)
"""The looks of the largest processes, in the map of physical memory."""

OWNERS = (
    Look("o", "brown", _DOTS, 0.65),
    Look("&", "teal", _ZIGZAG, 0.59),
    Look("c", "grey", _DOWNHILL, 0.17),
    Look("k", "grey", _ACROSS + _DOTS, 0.72),
    Look("H", "orange", _DOWN + _DOTS, 0.3),
    NOTHING,
    Look("-", "empty", _ACROSS, 0.89),
)
"""The looks of the other owners: other processes, several, page cache, kernel, hugetlb's pool, nobody, no memory."""
