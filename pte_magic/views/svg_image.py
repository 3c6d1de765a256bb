"""Drawings as images that stand alone: every reader of notebooks keeps ``<img>``.

JupyterLab drops inline SVG and style sheets from a notebook that is not trusted, and GitHub from all notebooks.
"""

from __future__ import annotations

import base64
import functools
import re
from typing import TYPE_CHECKING

from pte_magic.views import palette
from pte_magic.views.markup import escape, style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pte_magic.views.palette import Look

_TILE = f'width="{palette.TILE}" height="{palette.TILE}"'
_STROKE = f'fill="none" stroke-width="{palette.STROKE}" stroke-linecap="{palette.CAP}"'

MONOSPACE = "ui-monospace, DejaVu Sans Mono, Liberation Mono, Noto Sans Mono, monospace"
"""The fonts of text in drawings; programs that draw SVG may know no font that is called monospace."""


def filled(code: int) -> str:
    """Return the attribute that gives a shape the look of a code."""
    return f'fill="url(#look{code})"'


def image(  # noqa: PLR0913, PLR0917  (what goes into an image)
    shapes: str, width: int, height: int, known: Mapping[int, Look], label: str = "", more: str = ""
) -> str:
    """Return SVG shapes as an ``<img>``, which any page can hold, light or dark.

    Args:
        shapes: SVG elements, `filled` with looks.
        width: Width of the image, in pixels.
        height: Height of the image, in pixels.
        known: The looks by their codes.
        label: The text for readers who cannot see it; empty if the text is beside it.
        more: More attributes of the element, and a space.

    """
    return encoded(f"<defs>{definitions(known)}</defs>{shapes}", width, height, label, more)


def definitions(known: Mapping[int, Look]) -> str:
    """Return the definitions of looks, with which shapes can be `filled`."""
    return "".join(_pattern(code, look) for code, look in known.items())


def document(body: str, width: int, height: int) -> str:
    """Return the content of an SVG as a document."""
    size = f'width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>{body}</svg>'


def encoded(body: str, width: int, height: int, label: str = "", more: str = "") -> str:
    """Return the content of an SVG as an ``<img>``, with more attributes."""
    size = f'width="{width}" height="{height}"'
    data = base64.b64encode(document(body, width, height).encode()).decode("ascii")
    return f'<img {more}alt="{escape(label)}" {size} src="data:image/svg+xml;base64,{data}">'


def swatch(look: Look) -> str:
    """Return a small square of one look, for a legend."""
    side = 2 * palette.TILE
    return image(f'<rect width="{side}" height="{side}" {filled(0)}/>', side, side, {0: look})


def pattern(name: str, drawn: str, attributes: str = "") -> str:
    """Return the definition of a pattern, a tile of `palette.TILE` pixels, with which ``url(#name)`` fills a shape."""
    more = f" {attributes}" if attributes else ""
    return f'<pattern id="{name}" {_TILE} patternUnits="userSpaceOnUse"{more}>{drawn}</pattern>'


def _pattern(code: int, look: Look) -> str:
    """Return the definition of a look.

    On a full colour, patterns have the colour of the page, which an image does not know: they are cut out instead.
    """
    colors = _colors()
    ground = f'<rect {_TILE} fill="{colors[look.ground]}"'
    if look.ink == "ink":
        cut = f'<rect {_TILE} fill="#fff"/><path d="{look.pattern}" stroke="#000" {_STROKE}/>'
        mask = f'<mask id="cut{code}" maskUnits="userSpaceOnUse" x="0" y="0" {_TILE}>{cut}</mask>'
        drawn = f'{ground} mask="url(#cut{code})"/>'
    else:
        mask = ""
        drawn = f'{ground}/><path d="{look.pattern}" stroke="{colors[look.ink]}" {_STROKE}/>'
    return mask + pattern(f"look{code}", drawn)


@functools.cache
def _colors() -> dict[str, str]:
    return dict(re.findall(r"--pte-map-([a-z]+): ([^;]+);", style("map")))
