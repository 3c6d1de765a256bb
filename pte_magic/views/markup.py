"""HTML that stands alone: its style comes with it, and follows the theme of the page that it lands in."""

from __future__ import annotations

import functools
from html import escape
from pathlib import Path

__all__ = ["STATIC", "escape", "framed", "style"]

STATIC = Path(__file__).with_name("static")
"""Style sheets, and the scripts of widgets."""


@functools.cache
def style(name: str) -> str:
    """Return a style sheet of `STATIC`."""
    return (STATIC / f"{name}.css").read_text(encoding="utf-8")


def framed(body: str, *sheets: str) -> str:
    """Return a piece of HTML with the style sheets that it needs, by their names."""
    rules = "".join(style(name) for name in ("view", *sheets))
    return f'<div class="pte-magic"><style>{rules}</style>{body}</div>'
