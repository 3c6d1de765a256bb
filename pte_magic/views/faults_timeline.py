"""`Timeline`, a picture of page faults: time from left to right, and for each memory a band of its addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.errors.cut import cut
from pte_magic.errors.escapes import visible
from pte_magic.text.units import counted, size
from pte_magic.views import palette, svg_image
from pte_magic.views.markup import escape
from pte_magic.views.picture_file import Picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pte_magic.views.palette import Look

LOOKS: dict[str, Look] = {
    "first touch": palette.STATES["present"],
    "huge page": palette.SIZES[2 << 20],
    "page of zeros": palette.ZEROS,
    "copy-on-write": palette.STATES["swap"],
    "page cache": palette.STATES["migration"],
    "swap-in": palette.STATES["marker"],
    "refused": palette.STATES["hwpoison"],
    "other": palette.STATES["protnone"],
    "page fault": palette.STATES["present"],
    "major fault": palette.STATES["hwpoison"],
}
"""The looks of the groups of kinds of faults."""
_GROUP = {
    "first touch: fresh page": "first touch",
    "first touch: fresh huge page": "huge page",
    "first touch: page of zeros": "page of zeros",
    "copy-on-write": "copy-on-write",
    "copy-on-write of the page of zeros": "copy-on-write",
    "page of shared memory": "first touch",
    "page cache": "page cache",
    "page cache, read from disk": "page cache",
    "swap-in": "swap-in",
    "refused": "refused",
    "minor": "page fault",
    "major": "major fault",
}
_MOST = 8  # bands
_LEFT, _WIDTH, _BAND, _GAP = 130, 520, 30, 6  # pixels: of names, of time, and of a band
_STEP_X, _STEP_Y = 2, 3  # pixels of a mark
_SCALE, _LEGEND = 20, 20
_INK = "#767676"  # readable on a light page and on a dark one
_FONT = 'font-family="sans-serif" font-size="11"'
_NARROW = 'style="max-width: 100%; height: auto" '
_LETTERS = 19  # of a name
_COLUMNS, _ROWS = 60, 3  # of the picture in text


class Marks(NamedTuple):
    """The faults of a picture.

    Attributes:
        time: ns since the begin, ``int64[n]``.
        address: Addresses, ``uint64[n]``.
        memory: Indices into `names`, ``int32[n]``.
        names: Names of memory.
        kind: Indices into `kinds`, ``int8[n]``.
        kinds: The names of kinds.
        end: ns from the begin to the end of the block.

    """

    time: NDArray[np.int64]
    address: NDArray[np.uint64]
    memory: NDArray[np.int32]
    names: Sequence[str]
    kind: NDArray[np.int8]
    kinds: Sequence[str]
    end: int


class _Band(NamedTuple):
    name: str
    rows: NDArray[np.intp]
    first: int
    bytes: int


class Timeline(Picture):
    """A picture of page faults: one mark per fault, at its time and its address; neighbours share a mark."""

    __module__ = "pte_magic"

    def __init__(self, marks: Marks | None) -> None:
        self._marks = marks

    def svg(self) -> str:
        """Return the picture as an SVG document, with its words."""
        body, width, height = self._body()
        return svg_image.document(f'<rect width="100%" height="100%" fill="#fff"/>{body}', width, height)

    def _body(self) -> tuple[str, int, int]:
        bands = list(self._bands())
        groups = _groups(self._marks)
        drawn, used, top = [], set[int](), 0
        for band in bands:
            drawn.append(self._drawn(band, groups, top))
            used |= set(np.unique(groups[band.rows]).tolist())
            top += _BAND + _GAP
        words, height = self._words(bands, sorted(used), top)
        looks = {code: look for code, look in enumerate(LOOKS.values()) if code in used}
        return f"<defs>{svg_image.definitions(looks)}</defs>{''.join(drawn)}{words}", _LEFT + _WIDTH, height

    def _bands(self) -> Iterator[_Band]:
        """Yield the memory with most faults, the most first."""
        marks = self._marks
        if marks is None:
            return
        counts = np.bincount(marks.memory, minlength=len(marks.names))
        for at in np.argsort(-counts, kind="stable")[:_MOST].tolist():
            if not counts[at]:
                return
            rows = np.flatnonzero(marks.memory == at)
            # Of several pieces far from each other, the gaps are left out: their order is enough.
            first, last = int(marks.address[rows].min()), int(marks.address[rows].max())
            yield _Band(marks.names[at], rows, first, last - first + 1)

    def _drawn(self, band: _Band, groups: NDArray[np.intp], top: int) -> str:
        marks = self._marks
        assert marks is not None  # noqa: S101  (else there are no bands)
        x = np.clip(marks.time[band.rows] * (_WIDTH // _STEP_X) // max(marks.end, 1), 0, _WIDTH // _STEP_X - 1)
        steps = _BAND // _STEP_Y
        y = np.minimum(_rank(marks.address[band.rows]) * steps, steps - 1).astype(np.int64)
        drawn = [
            f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_BAND}" fill="{_INK}" fill-opacity="0.1"/>',
        ]
        for code in np.unique(groups[band.rows]).tolist():
            rows = groups[band.rows] == code
            spots = np.unique(y[rows] * _WIDTH + x[rows])
            starts = np.flatnonzero(np.append(True, np.diff(spots) != 1))
            ends = np.append(starts[1:], len(spots))
            path = "".join(
                f"M{_LEFT + spot % _WIDTH * _STEP_X} {top + spot // _WIDTH * _STEP_Y}"
                f"h{count * _STEP_X}v{_STEP_Y}h-{count * _STEP_X}z"
                for spot, count in zip(spots[starts].tolist(), (ends - starts).tolist(), strict=True)
            )
            drawn.append(f'<path d="{path}" {svg_image.filled(code)}/>')
        return "".join(drawn)

    def _words(self, bands: list[_Band], used: list[int], top: int) -> tuple[str, int]:
        """Return the names of bands, the scale and the legend, and the height of all."""
        drawn = []
        for at, band in enumerate(bands):
            y = at * (_BAND + _GAP)
            name = cut(visible(band.name), _LETTERS, in_middle=True)
            drawn.append(f'<text x="0" y="{y + 13}">{escape(name)}</text>')
            drawn.append(f'<text x="0" y="{y + 26}">{counted(len(band.rows), "fault")}</text>')
        end = self._marks.end if self._marks is not None else 0
        for part in range(5):
            x = _LEFT + part * _WIDTH // 4
            anchor = "start" if not part else "end" if part == 4 else "middle"  # noqa: PLR2004  (the last one)
            drawn.append(f'<path d="M{min(x, _LEFT + _WIDTH - 1)} {top}v4" stroke="{_INK}"/>')
            drawn.append(f'<text x="{x}" y="{top + 15}" text-anchor="{anchor}">{end * part / 4e6:.3g} ms</text>')
        x, y = _LEFT, top + _SCALE
        for code in used:
            name = list(LOOKS)[code]
            drawn.append(f'<rect x="{x}" y="{y + 2}" width="14" height="14" {svg_image.filled(code)}/>')
            drawn.append(f'<text x="{x + 18}" y="{y + 13}">{name}</text>')
            x += 18 + 7 * len(name) + 12
        return f'<g fill="{_INK}" {_FONT}>{"".join(drawn)}</g>', top + _SCALE + _LEGEND

    def _label(self) -> str:
        return ", ".join(
            f"{band.name}: {counted(len(band.rows), 'fault')} in {size(band.bytes)}" for band in self._bands()
        )

    def _repr_html_(self) -> str:
        body, width, height = self._body()
        return svg_image.encoded(body, width, height, f"page faults over time: {self._label()}", _NARROW)

    def __repr__(self) -> str:
        marks = self._marks
        if marks is None or not len(marks.time):
            return "<Timeline of no faults>"
        lines = []
        for band in self._bands():
            x = np.clip(marks.time[band.rows] * _COLUMNS // max(marks.end, 1), 0, _COLUMNS - 1)
            y = np.minimum(_rank(marks.address[band.rows]) * _ROWS, _ROWS - 1).astype(np.int64)
            grid = np.zeros((_ROWS, _COLUMNS), np.bool_)
            grid[y, x] = True
            name = cut(visible(band.name), _LETTERS - 2, in_middle=True)
            lines += [
                f"{name if not row else '':{_LETTERS - 2}}|{''.join('.#'[spot] for spot in grid[row].tolist())}"
                for row in range(_ROWS)
            ]
        return "\n".join([*lines, f"{'':{_LETTERS - 1}}0 to {marks.end / 1e6:.3g} ms"])


def _rank(address: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the place of each address among the pages that were touched, from 0 to 1, ``float64[n]``."""
    pages, place = np.unique(address >> np.uint64(12), return_inverse=True)
    return np.asarray(place / len(pages), np.float64)


def _groups(marks: Marks | None) -> NDArray[np.intp]:
    if marks is None:
        return np.empty(0, np.intp)
    names = list(LOOKS)
    codes = np.array([names.index(_GROUP.get(kind, "other")) for kind in marks.kinds], np.intp)
    return codes[marks.kind]
