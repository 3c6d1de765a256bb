"""Progress bars: seen by people only, and only by those who wait."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from typing import Any

import nbformat
import pytest
from conftest import python
from nbclient import NotebookClient

LONG = """
import threading, time
from pte_magic.api import progress
with progress.bar("looking", 3, "process") as bar:
    for _ in range(3):
        time.sleep({seconds})
        bar.update()
assert threading.active_count() == 1
"""


SETTLE = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("import mmap; m = mmap.mmap(-1, 8 * 4096)")
shell.run_line_magic("load_ext", "pte_magic")
shell.run_cell_magic("pte", "--settle {seconds} m;", "x = m[0]")
"""
WAITING = "waiting for later changes"


def on_a_terminal(code: str) -> tuple[bytes, bytes]:
    """Run code; return what it told a terminal, and what it printed."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb", 0) as terminal:
        done = subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE, check=False)
        os.write(theirs, b"the end")  # or reading would wait, where there is nothing
        os.close(theirs)
        said = terminal.read(1 << 16)
    assert done.returncode == 0, said
    return said.removesuffix(b"the end"), done.stdout


def left(said: bytes) -> str:
    """Return what is left on a terminal of what was told it in one line."""
    line: list[str] = []
    for part in said.decode().split("\r"):
        line[: len(part)] = part
    return "".join(line).rstrip()


@pytest.mark.parametrize(("seconds", "seen"), [(0.6, True), (0, False)])
def test_a_terminal_shows_what_takes_more_than_a_second(seconds: float, seen: bool) -> None:
    said, printed = on_a_terminal(LONG.format(seconds=seconds))
    assert printed == b""
    assert (b"looking" in said) is seen, said
    assert (b"3/3" in said or b"2/3" in said) is seen
    assert left(said) == ""


def test_a_terminal_shows_that_something_is_waited_for() -> None:
    said, printed = on_a_terminal(SETTLE.format(seconds=3))
    assert printed == b""
    assert WAITING.encode() in said
    seconds = [int(found) for found in re.findall(rb"(\d+) s left", said)]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] <= 3 > seconds[-1]
    assert left(said) == ""


class Client(NotebookClient):
    """Executes a notebook, and remembers the texts that widgets had meanwhile."""

    def __init__(self, *cells: str) -> None:
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        self.seen: list[str] = []
        quiet = ["--log-level=40"]  # no warning that the kernel's sockets are not encrypted
        super().__init__(made, kernel_name="python3", timeout=600, allow_errors=True, extra_arguments=quiet)

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        state = msg["content"].get("data", {}).get("state", {})  # of a widget
        self.seen.append(state.get("text", ""))
        return super().process_message(msg, cell, cell_index)


def test_a_notebook_keeps_nothing_of_it() -> None:
    client = Client(
        LONG.format(seconds=0.6).replace("assert", "#"),
        "with progress.bar('failing', 3, 'process') as bar: time.sleep(1.1); bar.update(); 1 / 0",
        "with progress.bar('fast', 3, 'process') as bar: bar.update()",
        "%load_ext pte_magic\nimport mmap; m = mmap.mmap(-1, 4096)",
        "%%pte --settle 3 m;\nx = m[0]",
    )
    cells = client.execute().cells
    for name, is_seen in (("looking:", True), ("failing:", True), ("fast:", False), (WAITING, True)):
        assert any(line.startswith(name) for line in client.seen) is is_seen, client.seen
    left = [output for cell in cells for output in cell.outputs]
    assert [output.ename for output in left if output.output_type == "error"] == ["ZeroDivisionError"]
    assert len(left) == 1


def test_a_pipe_gets_nothing() -> None:
    assert python(LONG.format(seconds=0.6)) == ""
    done = subprocess.run([sys.executable, "-c", LONG.format(seconds=0.6)], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
