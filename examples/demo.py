"""Prints one screen of page-table entries: cells of a notebook and what they show, without a browser."""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from pte_magic import doctor

CELLS = (
    "%load_ext pte_magic\nfrom pte_magic.workloads import private_mapping",
    "a = private_mapping(4)  # an array: 4 pages of memory, not used yet",
    "a[0] = 1; x = a[1, 0]   # write to page 0, read from page 1",
    "%pte a",
)
WHAT = """\
Pages 0 and 1 are present: their entries point to page frames, pieces of
physical memory. Page 1 was only read, so its page frame is one full of zeros,
which all such pages share. Pages 2 and 3 have no memory yet."""


def main() -> None:
    """Run the cells in a shell of IPython that keeps no history."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.warn_venv = False  # whichever is active
    with TemporaryDirectory() as home:
        make: Any = InteractiveShell  # it has no types
        shell = make(config=config, colors="nocolor", ipython_dir=home)
        for number, cell in enumerate(CELLS, 1):
            first, *more = cell.splitlines()
            print("\n".join([f"In [{number}]: {first}", *(f"   ...: {line}" for line in more)]))
            done = shell.run_cell(cell, store_history=True)
            if not done.success:
                sys.exit(1)
    print(WHAT)
    sees = doctor().attrs["sees"]
    print(fill(sees, 79))
    if "but no" in sees:
        print("In a notebook, `%pte --doctor` tells what to type to see more.")
    print("Next: `make lab` opens the tutorials in JupyterLab.")


if __name__ == "__main__":
    main()
