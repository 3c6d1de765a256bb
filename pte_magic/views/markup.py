"""HTML that stands alone: its style comes with it, and follows the theme of the page that it lands in."""

from __future__ import annotations

import functools
import html
from pathlib import Path

from pte_magic.escapes import visible

__all__ = ["STATIC", "escape", "framed", "script", "scrolled", "style"]

STATIC = Path(__file__).with_name("static")
"""Style sheets, and the scripts of widgets."""


def escape(text: str) -> str:
    """Return a text of one line as HTML, with an escape for what cannot be seen: see `escapes.visible`."""
    return html.escape(visible(text))


@functools.cache
def style(name: str) -> str:
    """Return a style sheet of `STATIC`."""
    return (STATIC / f"{name}.css").read_text(encoding="utf-8")


def script(*names: str) -> str:
    """Return scripts of `STATIC` as one module: a widget has no address from which it could import another."""
    return "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)


def framed(body: str, *sheets: str) -> str:
    """Return a piece of HTML with the style sheets that it needs, by their names."""
    rules = "".join(style(name) for name in ("view", *sheets))
    return f'<div class="pte-magic"><style>{rules}</style>{body}</div>'


def scrolled(table: str, label: str) -> str:
    """Return a wide table that is scrolled in a box of its own, by the mouse and by the keyboard.

    The keys are the box's: for JupyterLab, an arrow would mean the next cell, and ``d d`` no cell at all.
    """
    keys = 'tabindex="0" data-lm-suppress-shortcuts="true"'
    return f'<div {keys} role="group" aria-label="{label}" style="overflow-x: auto; max-width: 100%">{table}</div>'
