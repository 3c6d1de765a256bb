"""How the categories of a page map look: a letter in text, a colour *and* a pattern in pictures, so never colour alone.

The one place where that is written down: text, SVG and JavaScript all render these.
"""

from __future__ import annotations

from typing import NamedTuple

TILE = 8
"""Width and height of the tile that a pattern repeats, in pixels."""


class Look(NamedTuple):
    """How one category looks.

    Attributes:
        letter: Its cell in text.
        ground: Its colour: a custom property ``--pte-map-GROUND`` of map.css.
        pattern: What is drawn on it, as the data of an SVG path in a tile of `TILE` x `TILE`; empty: nothing.

    """

    letter: str
    ground: str
    pattern: str = ""

    @property
    def ink(self) -> str:
        """The custom property that the pattern is drawn with: the page's background, cut out of a full colour."""
        return "line" if self.ground == "empty" else "ink"


_UPHILL = "M-1 1L1 -1M-1 9L9 -1M7 9L9 7"
_DOWNHILL = "M-1 7L1 9M-1 -1L9 9M7 -1L9 1"
_ACROSS = "M0 4H8"
_DOWN = "M4 0V8"
_SPECK = "M4 4h.01"
_DOTS = "M2 2h.01M6 6h.01"
_ZIGZAG = "M-1 1L2 4L6 0L9 3M-1 5L2 8L6 4L9 7"

NOTHING = Look(".", "empty", _SPECK)
MISSING = Look("?", "empty", _DOWNHILL)
MIXED = Look("+", "grey", "M0 2h4M4 6h4")
OTHER = Look("o", "grey", _DOTS)

STATES = {
    "none": NOTHING,
    "present": Look("#", "blue"),
    "protnone": Look("n", "violet", _DOWN),
    "swap": Look("s", "orange", _UPHILL),
    "migration": Look("m", "teal", _ZIGZAG),
    "device": Look("d", "green", _ACROSS + _DOWN),
    "hwpoison": Look("x", "red", _UPHILL + _DOWNHILL),
    "marker": Look("%", "brown", _DOTS),
}
"""Of each value of the ``state`` column."""

SIZES = {
    1 << 12: Look("k", "blue"),
    1 << 21: Look("M", "green", _ACROSS),
    1 << 30: Look("G", "orange", _ACROSS + _DOWN),
}
"""Of each size of a page, in bytes."""

SET, NOT_SET = Look("#", "blue"), Look("-", "orange", _ACROSS)
"""Of a bit that is set, and of one that is not."""

RUN, NEXT_RUN = Look("#", "blue"), Look("=", "orange", _UPHILL)
"""Of runs of page frames that follow each other: every other run looks different, so that one sees where they end."""
