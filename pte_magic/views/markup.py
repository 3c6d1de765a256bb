"""HTML that stands alone: it brings its own style, which follows the theme of the page around it."""

from __future__ import annotations

import functools
import html
from pathlib import Path

from pte_magic.errors.escapes import visible

__all__ = ["KEYS", "STATIC", "escape", "framed", "module", "placed", "script", "scrolled", "style"]

STATIC = Path(__file__).with_name("static")
"""The directory of style sheets and of widgets' scripts."""
KEYS = 'data-lm-suppress-shortcuts="true"'
"""The attribute of elements with focus that keeps their keys: in JupyterLab, ``x`` would cut the cell.

JupyterLab looks at the element with the focus itself; an attribute of a parent has no effect.
"""


def escape(text: str) -> str:
    """Return a text of one line as HTML, with escapes for invisible characters: see `escapes.visible`."""
    return html.escape(visible(text))


@functools.cache
def style(name: str) -> str:
    """Return a style sheet of `STATIC`."""
    return (STATIC / f"{name}.css").read_text(encoding="utf-8")


def script(*names: str) -> str:
    """Return scripts of `STATIC` as one text: a widget has no address from which it could import another."""
    return "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)


def module(code: str) -> str:
    """Return a widget's module: code with a function ``live({model, el})`` that returns the function that ends it."""
    return f"{code}\n{script('place')}"


def framed(body: str, *sheets: str) -> str:
    """Return a piece of HTML with the style sheets that it needs, by their names."""
    rules = "".join(style(name) for name in ("view", *sheets))
    return f'<div class="pte-magic"><style>{rules}</style>{body}</div>'


def placed(body: str, name: str) -> str:
    """Return HTML in the place where the live picture of a model will be, if there is one: see place.js.

    Its name is a class, which is kept even in a notebook that is not trusted.
    """
    return f'<div class="pte-magic-place pte-magic-{name}">{body}</div>'


def scrolled(table: str, label: str) -> str:
    """Return a wide table in a box that scrolls by mouse and by keyboard."""
    box = f'tabindex="0" {KEYS} role="group" aria-label="{label}" style="overflow-x: auto; max-width: 100%"'
    return f"<div {box}>{table}</div>"
