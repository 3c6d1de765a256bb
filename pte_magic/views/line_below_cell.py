"""A line below the running cell of a notebook: replaced while work goes on, and removed at the end."""

from __future__ import annotations

import re
from typing import Any

import anywidget
import traitlets

from pte_magic.views.markup import script

_MOVES = re.compile(r"[\r\n]|\x1b\[A")  # of the terminal's cursor


class _Line(anywidget.AnyWidget):
    """The line in the page: a model without a view, as an output of the cell could not be removed again."""

    _esm = script("cell_line")
    text = traitlets.Unicode().tag(sync=True)
    cell = traitlets.Unicode().tag(sync=True)  # its id, if the front end has told it


class CellLine:
    """A file whose last line is shown below the cell.

    tqdm's own bar for notebooks would leave a saved output, which finds no model when the notebook is opened again.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self._line: _Line | None = None

    def write(self, text: str) -> None:
        """Show a line; an empty one removes it."""
        line = _MOVES.sub("", text).rstrip()
        if line and self._line is None:
            self._line = _Line(cell=_cell())
        if self._line is not None:
            self._line.text = line
            if not line:
                self._line.layout.close()
                self._line.close()
                self._line = None

    def flush(self) -> None:
        """Do nothing: it is shown."""


def _cell() -> str:
    """Return the id of the running cell; empty if the front end does not send it."""
    from IPython import get_ipython  # noqa: PLC0415  (in a notebook it is there)

    shell: Any = get_ipython()
    return str(shell.kernel.get_parent().get("metadata", {}).get("cellId", ""))
