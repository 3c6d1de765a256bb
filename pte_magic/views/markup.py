"""HTML that stands alone: it brings its own style, which follows the theme of the page around it."""

from __future__ import annotations

import functools
import html
from pathlib import Path

from pte_magic.errors.escapes import visible

__all__ = ["KEYS", "STATIC", "escape", "framed", "module", "placed", "script", "scrolled", "style"]

STATIC = Path(__file__).with_name("static")
"""Style sheets, and the scripts of widgets."""
KEYS = 'data-lm-suppress-shortcuts="true"'
"""Of whatever can have the focus: its keys are its own. For JupyterLab, ``x`` would mean to cut the cell.

It looks at the very element that has the focus; one around it does not do.
"""


def escape(text: str) -> str:
    """Return a text of one line as HTML, with an escape for what cannot be seen: see `escapes.visible`."""
    return html.escape(visible(text))


@functools.cache
def style(name: str) -> str:
    """Return a style sheet of `STATIC`."""
    return (STATIC / f"{name}.css").read_text(encoding="utf-8")


def script(*names: str) -> str:
    """Return scripts of `STATIC` as one text: a widget has no address from which it could import another."""
    return "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)


def module(code: str) -> str:
    """Return the module of a widget, of code with a function ``live({model, el})`` that returns what ends it."""
    return f"{code}\n{script('place')}"


def framed(body: str, *sheets: str) -> str:
    """Return a piece of HTML with the style sheets that it needs, by their names."""
    rules = "".join(style(name) for name in ("view", *sheets))
    return f'<div class="pte-magic"><style>{rules}</style>{body}</div>'


def placed(body: str, name: str) -> str:
    """Return HTML as what stands where the live picture of a model will be, if there is one: see place.js.

    Its name is a class, which is kept even of a notebook that is not trusted.
    """
    return f'<div class="pte-magic-place pte-magic-{name}">{body}</div>'


def scrolled(table: str, label: str) -> str:
    """Return a wide table that is scrolled in a box of its own, by the mouse and by the keyboard."""
    box = f'tabindex="0" {KEYS} role="group" aria-label="{label}" style="overflow-x: auto; max-width: 100%"'
    return f"<div {box}>{table}</div>"
