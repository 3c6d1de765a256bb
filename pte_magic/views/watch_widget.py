"""The live view of a watch: its history, and buttons that pause and stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import traitlets

from pte_magic.views import watch_history
from pte_magic.views.markup import module, script
from pte_magic.views.widget import View

if TYPE_CHECKING:
    from pte_magic.views.watch_history import History


class Watched(Protocol):
    """The interface of an object that can be shown live."""

    paused: bool

    @property
    def running(self) -> bool:
        """True until it is stopped, also while it is paused."""

    def stop(self) -> None:
        """Stop looking."""

    def history(self) -> History:
        """Return its history."""


class LiveView(View):
    """A running watch. The browser gets rendered changes; while nothing changes, nothing is sent.

    Attributes:
        paused: True while it does not look; may be set.
        running: True until it is stopped. To stop it, set it to False.

    """

    _esm = module(script("watch"))
    paused = traitlets.Bool(False).tag(sync=True)  # noqa: FBT003  (traitlets' way)
    running = traitlets.Bool(True).tag(sync=True)  # noqa: FBT003  (traitlets' way)
    _content = traitlets.Unicode().tag(sync=True)

    def __init__(self, watched: Watched) -> None:
        """Show a watch."""
        self._watched = watched
        super().__init__(paused=watched.paused, running=watched.running, _content=self._drawn())
        self.observe(self._asked, ["paused", "running"])
        self.on_msg(self._heard)

    def refresh(self) -> None:
        """Show the current history."""
        with self.hold_sync():
            self.running = self._watched.running
            self._content = self._drawn()

    def text(self) -> str:
        """Return the current history as text."""
        return watch_history.text(self._watched.history())

    def html(self) -> str:
        """Return it as HTML with the time."""
        return watch_history.html(self._watched.history(), still=True)

    def svg(self) -> str:
        """Return the current history as an SVG document."""
        return watch_history.svg(self._watched.history())

    def _drawn(self) -> str:
        return watch_history.html(self._watched.history())

    def _asked(self, change: dict[str, Any]) -> None:
        if change["name"] == "paused":
            self._watched.paused = change["new"]
        elif not change["new"]:
            self._watched.stop()

    def _heard(self, _view: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("closed"):  # the last of its views was taken away: the cell was run again, or cleared
            self._watched.stop()
