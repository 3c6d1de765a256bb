"""The ``%%stap`` cells of README and of the tutorials, to be compiled before somebody runs them in a guest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.notebook.stap_cell import request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.systemtap.script import Script

PROJECT = Path(__file__).parents[3]
_TYPED = re.compile(r"^In \[\d+\]: %%stap(.*)\n((?:   \.\.\.: .*\n)+)", re.MULTILINE)
_ASSIGNED = re.compile(r"^([\w, ]+?) = ", re.MULTILINE)


def scripts() -> list[Script]:
    """Return what has to be compiled for them."""
    return [script(line, cell, names) for line, cell, names in [*readme(), *_notebooks()]]


def script(line: str, cell: str, names: set[str]) -> Script:
    """Return what has to be compiled for a cell that uses these variables."""
    # Any number will do: it is put in when the module is loaded.
    asked = request(line, cell, dict.fromkeys(names, 0))
    assert asked
    return asked.script


def readme() -> Iterator[tuple[str, str, set[str]]]:
    """Yield the cells of README: what follows ``%%stap``, the lines below, and which variables of Python they use."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    for typed in _TYPED.finditer(text):
        yield typed[1], "".join(f"{line[8:]}\n" for line in typed[2].splitlines()), {"a"}


def _notebooks() -> Iterator[tuple[str, str, set[str]]]:
    for path in sorted((PROJECT / "examples").glob("*.ipynb")):
        cells = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
        assigned = {name.strip() for cell in cells for names in _ASSIGNED.findall(cell) for name in names.split(",")}
        for cell in cells:
            if cell.startswith("%%stap"):
                line, _, text = cell.partition("\n")
                # A cell magic gets its lines with the last one ended.
                yield line.removeprefix("%%stap"), f"{text}\n", assigned
