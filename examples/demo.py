"""Runs the first tutorial without a browser and prints its cells and what they show."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("01_first_pte.ipynb")


def main() -> None:
    """Execute the notebook; an assertion that fails in it ends the demo with its traceback."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as home:
        # Nothing of the user's own configuration, and nothing left in it; some users have no home at all.
        for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
            os.environ[name] = home
        NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=120,
            resources={"metadata": {"path": home}},
            extra_arguments=[
                "--log-level=40"
            ],  # no warning that the kernel's sockets on this machine are not encrypted
        ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            print(f"\n{cell.source}")
            continue
        print("\n".join(f">>> {line}" for line in cell.source.splitlines()))
        for output in cell.outputs:
            print(output.get("text") or output.get("data", {}).get("text/plain", ""), end="\n")
    if os.geteuid() != 0:
        print(
            "\nRun as an ordinary user: no raw entries, and the kernel hides page frame numbers.\n"
            "To see both, run it as root: sudo make demo",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
