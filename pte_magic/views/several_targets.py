"""`ByTarget`: what is shown of several targets, each below the text that named it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from pte_magic.errors.escapes import visible
from pte_magic.views.markup import escape


class Shown(Protocol):
    """The interface of what has HTML, or none if pandas was told not to make any."""

    def _repr_html_(self) -> str | None: ...


T = TypeVar("T", bound=Shown)


class ByTarget(dict[str, T]):
    """A dict by the texts of targets, which is shown with these as headings."""

    def __repr__(self) -> str:
        return "\n\n".join(f"{visible(name)}\n{found!r}" for name, found in self.items())

    def _repr_html_(self) -> str | None:
        shown = {name: found._repr_html_() for name, found in self.items()}
        if None in shown.values():
            return None
        return "".join(f"<h4><code>{escape(name)}</code></h4>{html}" for name, html in shown.items())
