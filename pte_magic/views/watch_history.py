"""The history of a watch, as text and as HTML: the last changes, the counts of entries, and a picture."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.errors.escapes import visible
from pte_magic.text import units
from pte_magic.views import palette, svg_document, svg_image
from pte_magic.views.html_table import cell, cells, column_heads, row, row_head, table
from pte_magic.views.markup import escape, framed
from pte_magic.views.svg_document import Drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pte_magic.views.palette import Look

LINES = 8
"""Number of the last changes that are listed."""
COLUMNS = 120
"""Number of the last looks in the picture; a column per look lasts until the next one."""

_WIDTH, _HEIGHT = 1200, 120  # of the picture, which is made as wide as its place
_LEAST = 2  # pixels of a column: many changes may happen at once
_LAST = 40  # the last look lasts a fortieth of the time before it
_TICKS = 5  # times below the picture
_DIGITS = (8, 10, 11, 12)  # of a time: hh:mm:ss, and with fractions as far as times differ


class Kind(NamedTuple):
    """Entries that are counted together: their state, and the size of each if they map something, else 0."""

    state: str
    size: int

    @property
    def words(self) -> str:
        """Their name."""
        return f"{self.state} {units.size(self.size)}" if self.size else self.state

    @property
    def look(self) -> Look:
        """Their look in the picture."""
        if self.state == "present":
            return palette.SIZES.get(self.size, palette.OTHER)
        return palette.STATES.get(self.state) or palette.SHARING.get(self.state, palette.OTHER)


class Event(NamedTuple):
    """A change, or the first look: time (seconds since 1970), words for the change, and counts of entries."""

    time: float
    words: str
    counts: Mapping[Kind, tuple[int, int]]  # entries and bytes

    @property
    def line(self) -> str:
        """The time, of this host's clock, and the words."""
        return f"{_clock(self.time)}  {visible(self.words)}"


class History(NamedTuple):
    """The history of a watch.

    Attributes:
        seen: A line about it.
        state: Its state.
        events: Its last events.
        drawn: HTML of a picture of the last look, above that of all; may be empty.
        told: The same in lines of text.
        unit: The word for what is counted.

    """

    seen: str
    state: str
    events: Sequence[Event]
    drawn: str = ""
    told: Sequence[str] = ()
    unit: str = "entries"

    @property
    def head(self) -> tuple[str, ...]:
        """The words above the columns of its table."""
        return "", f"{self.unit} now", "bytes now", "least", "most"

    @property
    def headline(self) -> str:
        """One line about it."""
        return f"{self.seen}; {self.state}"


def text(history: History) -> str:
    """Return a history for a terminal."""
    rows = [history.head, *_rows(history.events)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    happened = [event.line for event in history.events[-LINES:]]
    return "\n".join([visible(history.headline), *happened, *history.told, "", *table])


def html(history: History, *, still: bool = False) -> str:
    """Return a history as HTML that stands alone; a table has the numbers of the picture.

    Args:
        history: The history.
        still: Add the time, as the HTML may be read later.

    """
    kinds = _kinds(history.events)
    happened = "".join(
        f"<li><time>{_clock(event.time)}</time> {escape(event.words)}</li>" for event in history.events[-LINES:]
    )
    head = row(cell(), cell(), column_heads(history.head[1:]))
    body = [
        row(cell(svg_image.swatch(kind.look)), row_head(escape(words[0])), cells(words[1:]))
        for kind, words in zip(kinds, _rows(history.events), strict=True)
    ]
    now = f"; as it was at {time.strftime('%H:%M:%S')}" if still else ""
    parts = [
        f'<p>{escape(history.seen)}; <span class="pte-watch-state">{escape(history.state)}</span>{now}</p>',
        history.drawn,
        *_picture(kinds, history.events[-COLUMNS:]),
        table(body, head, 'class="pte-map-legend"'),
        f'<ol class="pte-watch-events">{happened}</ol>',
    ]
    return framed(f'<div class="pte-map pte-watch">{"".join(parts)}</div>', "map", "watch")


def svg(history: History) -> str:
    """Return a history as an SVG document: a picture, a legend with the numbers, and the last changes."""
    kinds = _kinds(history.events)
    drawing, label = _drawing(kinds, history.events[-COLUMNS:])
    head, *rows = text(history).rpartition("\n\n")[2].splitlines()
    happened = text(history).partition("\n\n")[0].splitlines()
    legend = svg_document.legend([head, *rows], [None, *range(len(kinds))])
    looks = {at: kind.look for at, kind in enumerate(kinds)}
    first, *_, last = _ticks(history.events[-COLUMNS:])
    above = svg_document.words([happened[0], f"{label}, from {first} to {last}"])
    return svg_document.document([above, drawing, legend, svg_document.words(happened[1:])], looks)


def _kinds(events: Sequence[Event]) -> list[Kind]:
    return sorted({kind for event in events for kind in event.counts}, key=lambda kind: (kind.state == "none", kind))


def _rows(events: Sequence[Event]) -> list[tuple[str, ...]]:
    """Return a line for each kind of entries: their number, the bytes that they cover, and the numbers before."""
    rows: list[tuple[str, ...]] = []
    for kind in _kinds(events):
        seen = [event.counts.get(kind, (0, 0)) for event in events]
        entries = [count for count, _ in seen]
        now, covered = seen[-1]
        rows.append((kind.words, f"{now:,}", units.size(covered), f"{min(entries):,}", f"{max(entries):,}"))
    return rows


def _clock(seconds: float) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{int(seconds * 1000) % 1000:03}"


def _picture(kinds: Sequence[Kind], events: Sequence[Event]) -> tuple[str, str, str]:
    """Return the drawing as an image, the times below it, and a line about it."""
    drawing, label = _drawing(kinds, events)
    known = {at: kind.look for at, kind in enumerate(kinds)}
    axis = "".join(f"<span>{when}</span> " for when in _ticks(events))
    return svg_image.image(*drawing, known, label), f'<p class="pte-watch-axis">{axis}</p>', f"<p>{label}</p>"


def _period(events: Sequence[Event]) -> tuple[float, float]:
    """Return when the first look was, and the seconds from then until the last one has lasted a while."""
    first, last = events[0].time, events[-1].time
    return first, max((last - first) * (1 + 1 / _LAST), 1)


def _ticks(events: Sequence[Event]) -> list[str]:
    first, seconds = _period(events)
    whole = [_clock(first + seconds * at / (_TICKS - 1)) for at in range(_TICKS)]
    digits = next((cut for cut in _DIGITS if len({when[:cut] for when in whole}) == _TICKS), _DIGITS[0])
    return [when[:digits] for when in whole]


def _drawing(kinds: Sequence[Kind], events: Sequence[Event]) -> tuple[Drawing, str]:
    """Return columns, one per look until the next, as high as the mapped memory, and a line about them."""
    mapped = [kind for kind in kinds if kind.state != "none"]
    most = max((sum(event.counts.get(kind, (0, 0))[1] for kind in mapped) for event in events), default=0)
    start, seconds = _period(events)
    ends = [event.time for event in events[1:]] + [start + seconds]
    bars = []
    for event, end in zip(events, ends, strict=True):
        left, right = ((when - start) / seconds * _WIDTH for when in (event.time, end))
        bottom = float(_HEIGHT)
        for at, kind in enumerate(kinds):
            covered = event.counts.get(kind, (0, 0))[1]
            if kind not in mapped or not covered:
                continue
            height = covered / most * _HEIGHT
            bottom -= height
            bars.append(
                f'<rect x="{left:.5g}" y="{bottom:.4g}" width="{max(right - left, _LEAST):.5g}" '
                f'height="{height:.4g}" {svg_image.filled(at)}/>'
            )
    label = f"what was mapped, over time, as looks found changes: at most {units.size(most)}"
    return Drawing(f'<g shape-rendering="crispEdges">{"".join(bars)}</g>', _WIDTH, _HEIGHT), label
