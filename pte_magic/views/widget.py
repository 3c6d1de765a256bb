"""`View`, the base of all widgets: a cell keeps HTML and text of them, which need no widget."""

from __future__ import annotations

import uuid
from abc import ABCMeta, abstractmethod
from typing import Any

import anywidget
import traitlets

from pte_magic.views.markup import placed
from pte_magic.views.picture_file import Picture


class _Kind(traitlets.MetaHasTraits, ABCMeta):
    """The metaclass of a class with traits and abstract methods: a class without one of these cannot be made."""


class View(anywidget.AnyWidget, Picture, metaclass=_Kind):
    """A widget whose output in a notebook is its picture as ``text/html`` and ``text/plain``.

    These are visible without a kernel, too: in a notebook that was saved and opened again, in nbconvert's output, on
    GitHub, in the terminal. In the page with the widget's model, the live picture takes the place of the HTML
    (static/place.js). No widget view is saved, as it would look for its model and report that it is not found.

    Where outputs have pages of their own, as in VS Code, it stays HTML. A view of ipywidgets is live there, too:
    ``ipywidgets.VBox([view])``.

    Its ``_esm`` is a `markup.module`.
    """

    _place = traitlets.Unicode().tag(sync=True)  # the name of the places where it is shown, and of its model

    def __init__(self, **values: Any) -> None:
        name = uuid.uuid4().hex
        super().__init__(model_id=name, _place=name, **values)
        self.on_msg(self._send_svg)

    @abstractmethod
    def text(self) -> str:
        """Return the picture as plain text."""

    @abstractmethod
    def html(self) -> str:
        """Return the picture as HTML that needs neither JavaScript nor a network."""

    def placed(self, still: str | None = None) -> str:
        """Return its HTML, or what else is `still` shown, in whose place the live picture is where its model is."""
        return placed(self.html() if still is None else still, self._place)

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.placed()

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"text/plain": self.text(), "text/html": self.placed()}, {}

    def _send_svg(self, _view: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("svg"):  # somebody saves it in the browser
            self.send({"svg": self.svg()})
