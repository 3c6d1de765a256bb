"""`View`, the base of all widgets: a cell keeps HTML and text of them, which need no widget."""

from __future__ import annotations

import uuid
from abc import ABCMeta, abstractmethod
from typing import Any

import anywidget
import traitlets

from pte_magic.views.markup import placed


class _Kind(traitlets.MetaHasTraits, ABCMeta):
    """Of a class that has traits, and abstract methods: who leaves one of these out cannot be made."""


class View(anywidget.AnyWidget, metaclass=_Kind):
    """A widget whose output in a notebook is what it shows as ``text/html`` and ``text/plain``.

    These are what there is to see where no kernel runs: in a notebook that was saved and opened again, in nbconvert's
    output, on GitHub, in the terminal. In the page where the widget's model is, the live picture takes the place of the
    HTML (static/place.js). No view of a widget is saved, which would ask for its model, and say that it is not found.

    Where outputs have pages of their own, as in VS Code, it stays HTML. A view of ipywidgets is live there, too:
    ``ipywidgets.VBox([view])``.

    Its ``_esm`` is a `markup.module`.
    """

    _place = traitlets.Unicode().tag(sync=True)  # the name of the places where it is shown, and of its model

    def __init__(self, **values: Any) -> None:
        name = uuid.uuid4().hex
        super().__init__(model_id=name, _place=name, **values)

    @abstractmethod
    def text(self) -> str:
        """Return what is shown as plain text."""

    @abstractmethod
    def html(self) -> str:
        """Return what is shown as HTML that needs neither JavaScript nor a network."""

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"text/plain": self.text(), "text/html": placed(self.html(), self._place)}, {}
