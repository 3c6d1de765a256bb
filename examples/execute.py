"""Executes notebooks, and writes them with their outputs and recorded DataFrames: ``make examples``.

    execute.py [--to DIRECTORY] [--lab | NAME ...]

A name is the beginning of a notebook's name, such as 03. Without names: all except those for a guest of the lab.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from recorded import TO

from pte_magic.linux import hardware

HERE = Path(__file__).parent
LAB = ("06_swap", "07_protection", "08_accessed_and_dirty", "10_systemtap", "11_numa_and_migration")
"""Notebooks for a guest of the lab, which has swap space, protection keys, SystemTap and two nodes."""
IMPORTED = ("recorded.py", "visible.py")
"""Modules in this directory that notebooks import."""
SECONDS = 600
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
PLACE = re.compile(r"(?<=pte-magic-place) pte-magic-[0-9a-f]{32}")  # the id of a widget's model


def find(names: list[str], *, lab: bool) -> list[Path]:
    """Return the notebooks whose names begin so; without names, those for the lab, or all others."""
    paths = sorted(HERE.glob("*.ipynb"))
    if not names:
        return [path for path in paths if (path.stem in LAB) == lab]
    for name in names:
        if not any(path.stem.startswith(name) for path in paths):
            sys.exit(f"no notebook begins with {name!r}; type one of {', '.join(path.stem for path in paths)}")
    return [path for path in paths if path.stem.startswith(tuple(names))]


def executed(path: Path) -> Any:
    """Execute a notebook in a directory that has only the modules that it imports.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed, such as by an assertion.

    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as home:
        # Do not use or change the user's own configuration; some users have no home at all.
        for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
            os.environ[name] = home
        for name in IMPORTED:
            Path(home, name).symlink_to(HERE / name)
        NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=SECONDS,
            startup_timeout=SECONDS,
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": home}},
            extra_arguments=["--log-level=40"],  # no warning that the kernel's sockets here are not encrypted
        ).execute()
    return notebook


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove everything that is not about page tables: versions, names of the host and its directories, widgets."""
    notebook.metadata = nbformat.from_dict(METADATA)
    host = re.compile(rf"\bhost {re.escape(hardware.host())}\b")
    programs = re.compile(re.escape(str(Path(sys.executable).parent)))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell.outputs = joined(cell.outputs)
        for output in cell.get("outputs", []):
            for holder in (output, output.get("data", {})):
                for key, text in holder.items():
                    if isinstance(text, str) and key in {"text", "text/plain", "text/html"}:
                        shown = programs.sub("/opt/pte-magic/bin", host.sub("host laptop", text))
                        holder[key] = PLACE.sub("", shown)


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join texts that were printed together: on a busy host they arrive in pieces, even of half a line."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        if found and output.output_type == found[-1].output_type == "stream" and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=HERE, help="where to write them; by default over what is there")
    parser.add_argument("--lab", action="store_true", help="those for a guest of the lab")
    parser.add_argument("names", nargs="*")
    options: Any = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    os.environ[TO] = str(options.to.resolve() / "data")
    for path in find(options.names, lab=options.lab):
        print(path.stem, flush=True)
        notebook = executed(path)
        tidy(notebook)
        nbformat.write(notebook, options.to / path.name)


if __name__ == "__main__":
    main()
