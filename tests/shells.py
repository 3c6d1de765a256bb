"""A real shell of IPython, for tests of magics: whole cells are run, and what they return and print is looked at."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

if TYPE_CHECKING:
    from pathlib import Path


class Cell(NamedTuple):
    """What a cell returned, printed, and printed to stderr."""

    result: Any
    out: str
    err: str


class Shell:
    """A shell of its own, without history and colors."""

    def __init__(self, directory: Path) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.warn_venv = False  # whichever is active
        make: Any = InteractiveShell  # it has no types
        self.ip = make(config=config, colors="nocolor", ipython_dir=str(directory))
        self.run("%load_ext pte_magic\nimport numpy as np, os, subprocess, sys\na = np.ones(8 * 512)")

    def run(self, code: str) -> Cell:
        with capture_output() as captured:
            done = self.ip.run_cell(code)
        return Cell(done.result, captured.stdout, captured.stderr)

    def complete(self, line: str) -> list[str]:
        """Complete as a notebook does: return the lines that it would offer."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # IPython calls it provisional
            found = list(self.ip.Completer.completions(line, len(line)))
        return [line[: completion.start] + completion.text + line[completion.end :] for completion in found]
