"""Executes tutorials without Jupyter: ``lesson_runner.py TO NAME ...`` writes what each printed to ``TO/NAME.json``.

Each is executed in a process of its own, which is forked, so that what all of them import is imported once. Besides
what its cells print and return, each file has what they displayed, and what they compared of columns in which nothing
is known: that nothing equals nothing says nothing. After the last cell, ``%pte --vars`` is asked whose the memory is.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import nbformat  # noqa: E402  (as the next lines: nothing but examples/ is to be found before)
import pandas as pd  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402
from IPython.utils.capture import capture_output  # noqa: E402

COMPARING = ("__eq__", "__ne__", "eq", "ne", "equals", "tolist", "to_list", "fillna", "to_numpy")
"""What a cell compares columns by, or makes something comparable of them."""


def watch_comparisons() -> list[str]:
    """Have cells watched; return a list that grows by what they compare of columns in which every value is missing."""
    found: list[str] = []

    def watched(name: str, original: Any) -> Any:
        def compare(series: pd.Series, *args: Any, **options: Any) -> Any:
            caller = sys._getframe(1)
            if caller.f_globals.get("__name__") == "__main__" and len(series) and series.isna().all():
                found.append(f"{series.name}.{name}, line {caller.f_lineno} of {caller.f_code.co_filename}")
            return original(series, *args, **options)

        return compare

    for name in COMPARING:
        setattr(pd.Series, name, watched(name, getattr(pd.Series, name)))
    return found


def resident() -> int:
    """Return the resident bytes of this process, as the kernel sums them up."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Rss:"))


def add_up(shell: InteractiveShell) -> tuple[int, int, int]:
    """Return the resident bytes before a cell ``%pte --vars``, the sum of all its rows, and those after it."""
    before = resident()
    with capture_output() as captured:
        done = shell.run_cell("%load_ext pte_magic\nowners_at_the_end = %pte --vars", store_history=True)
    assert done.success, captured.stdout + captured.stderr
    return before, int(shell.user_ns["owners_at_the_end"]["resident"].sum()), resident()


def execute(path: Path, to: Path) -> None:
    """Execute a notebook in this process, in the current directory.

    Raises:
        AssertionError: A cell failed; the message is what it printed.

    """
    shell = InteractiveShell.instance()
    compared = watch_comparisons()
    printed, displayed = [], []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        with capture_output() as captured:
            done = shell.run_cell(cell.source, store_history=True)
        shown = "".join(output.data.get("text/plain", "") for output in captured.outputs)
        if not done.success and "raises-exception" not in cell.metadata.get("tags", ()):
            message = f"{path.stem}:\n{cell.source}\n{captured.stdout}{captured.stderr}{shown}"
            raise AssertionError(message)
        printed.append(captured.stdout)
        displayed.append(shown)
    told = {"printed": printed, "displayed": displayed, "compared": compared, "resident": add_up(shell)}
    (to / f"{path.stem}.json").write_text(json.dumps(told), encoding="utf-8")


def main() -> None:
    """Do what the command line says; exit with 1 if a cell of any failed."""
    to, *names = sys.argv[1:]
    statuses = []
    for name in names:
        home = tempfile.mkdtemp()
        notebooks = Path(home, "notebooks")
        notebooks.mkdir()
        pid = os.fork()
        if pid == 0:
            os.environ |= dict.fromkeys(("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"), home)
            os.chdir(notebooks)
            execute(EXAMPLES / f"{name}.ipynb", Path(to))
            sys.exit()  # with what is to be done at exit
        statuses.append(os.waitpid(pid, 0)[1])
        if left := [path.name for path in notebooks.iterdir()]:
            sys.stderr.write(f"{name} leaves files behind: {left}\n")
            statuses.append(1)
        shutil.rmtree(home)
    sys.exit(any(statuses))


if __name__ == "__main__":
    main()
