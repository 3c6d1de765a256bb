"""`PteDiffs`: what changed in several places, by the text that named each."""

from __future__ import annotations

from pte_magic.api.pte_diff import PteDiff
from pte_magic.text.escapes import visible
from pte_magic.views.markup import escape


class PteDiffs(dict[str, PteDiff]):
    """The differences of several targets, `PteDiff` by the text that named each."""

    def __repr__(self) -> str:
        return "\n\n".join(f"{visible(name)}\n{found!r}" for name, found in self.items())

    def _repr_html_(self) -> str | None:
        shown = {name: found._repr_html_() for name, found in self.items()}
        if None in shown.values():  # pandas was told not to
            return None
        return "".join(f"<h4><code>{escape(name)}</code></h4>{html}" for name, html in shown.items())
