"""What all widgets have in common: whoever cannot run them gets the same facts as HTML, or as text."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import anywidget


class View(anywidget.AnyWidget):
    """A widget. A notebook keeps, beside it, what it shows as ``text/html`` and ``text/plain``.

    These stand for it where no widget runs: in the terminal, in nbconvert's output, on GitHub.
    """

    @abstractmethod
    def text(self) -> str:
        """Return what is shown as plain text."""

    @abstractmethod
    def html(self) -> str:
        """Return what is shown as HTML that needs neither JavaScript nor a network."""

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        data, metadata = bundle
        # The static forms stand for the widget, which a notebook on GitHub cannot run.
        return {**data, "text/plain": self.text(), "text/html": self.html()}, metadata
