"""The looks of a page map's categories: a letter in text, a colour *and* a pattern in pictures.

Colour alone never carries a meaning. Text, SVG and JavaScript all render these looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    """

    letter: str
    ground: str
    pattern: str = ""

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
MISSING = Look("?", "empty", _DOWNHILL)
OTHER = Look("o", "grey", _DOTS)
ZEROS = Look("0", "grey", _ACROSS)
MIXED = "+"
"""The letter of a square of several categories, none of which is more than half of it."""

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
"""The look of each value of the ``state`` column."""

_SMALL, _MEGA, _GIGA = Look("k", "blue"), Look("M", "green", _ACROSS), Look("G", "orange", _ACROSS + _DOWN)
_BLOCK, _LARGE = Look("K", "teal", _ZIGZAG), Look("L", "violet", _DOWN)
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

SET, NOT_SET = Look("#", "blue"), Look("-", "orange", _ACROSS)
"""The looks of a set bit and a clear one."""

RUN, NEXT_RUN = Look("#", "blue"), Look("=", "orange", _UPHILL)
"""The looks of runs of consecutive page frames: two, in turn, so that the ends of runs are visible."""

PROCESSES = (
    Look("1", "blue"),
    Look("2", "orange", _UPHILL),
    Look("3", "green", _ACROSS + _DOWN),
    Look("4", "violet", _DOWN),
    Look("5", "red", _UPHILL + _DOWNHILL),
)
"""The looks of the largest processes, in the map of physical memory."""

OWNERS = (
    Look("o", "brown", _DOTS),
    Look("&", "teal", _ZIGZAG),
    Look("c", "quiet", "M3 4h2"),
    Look("k", "grey", "M4 3v2"),
    Look("H", "orange", _DOWN + _DOTS),
    NOTHING,
    Look("-", "empty", _ACROSS),
)
"""The looks of the other owners: other processes, several, page cache, kernel, hugetlb's pool, nobody, no memory."""

STYLES = {
    "blue": "34",
    "orange": "33",
    "green": "32",
    "violet": "35",
    "red": "31",
    "teal": "36",
    "brown": "33;2",
    "grey": "2",
    "quiet": "2",
    "empty": "2",
}
"""The nearest style of a terminal for each ground: parameters of SGR, which users may have given other colours."""

BLOCKS = {".": "\N{MIDDLE DOT}", "k": "▒", "K": "▓", "M": "█", "L": "▉", "G": "■", "s": "░"}
"""The blocks for some letters in a bar of text, where the encoding has them."""
SHARING = {
    "shared": Look("=", "blue"),
    "copied here": Look("h", "orange", _UPHILL),
    "copied there": Look("t", "green", _ACROSS + _DOWN),
    "copied, here or there": Look("e", "red", _UPHILL + _DOWNHILL),
    "never shared": Look("n", "teal", _ZIGZAG),
    "swapped out": Look("s", "brown", _DOTS),
    "without a page": NOTHING,
}
"""The looks of pages of processes that were forked from each other, by the words for them."""

_OPACITY = {"empty": 0, "quiet": 0.5}  # in their order; others hide what is below them


def painting(looks: Sequence[Look]) -> list[int]:
    """Return the order in which looks are painted over each other to blend: those that are translucent first."""
    return sorted(range(len(looks)), key=lambda at: _OPACITY.get(looks[at].ground, 1))


def empty(looks: Sequence[Look]) -> int:
    """Return how many looks are of what is not there: they are painted first."""
    return sum(look.ground == "empty" for look in looks)
