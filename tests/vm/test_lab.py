"""The lab as people use it: ``make vm`` in a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rootfs import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")

SECONDS = 1200.0  # the lab may have to be built before


class Terminal:
    """A program in a terminal of its own, and what it has printed there."""

    def __init__(self, command: list[str]) -> None:
        self._ours, theirs = pty.openpty()
        self.program = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.text = ""

    def type(self, line: str, *, until: str) -> str:
        """Type a line; return what is printed until some text comes, with that."""
        os.write(self._ours, f"{line}\r".encode())
        return self.wait_for(until)

    def wait_for(self, text: str) -> str:
        began, end = len(self.text), time.monotonic() + SECONDS
        while text not in self.text[began:]:
            ready, _, _ = select.select([self._ours], [], [], max(0, end - time.monotonic()))
            assert ready, self.text
            try:
                data = os.read(self._ours, 4096)
            except OSError:  # the terminal has no other end any more
                data = b""
            assert data, self.text
            self.text += data.decode(errors="replace")
        return self.text[began:]

    def close(self) -> None:
        self.program.terminate()  # it ends its guest then
        try:
            self.program.wait(SECONDS)
        finally:
            self.program.kill()
        os.close(self._ours)


def test_a_shell_in_a_guest_has_the_terminal_and_all_walkers() -> None:
    terminal = Terminal([sys.executable, str(Path(__file__).with_name("lab.py")), "shell", "newest"])
    try:
        terminal.wait_for("# ")
        terminal.type("echo $((6 * 7))", until="42")
        terminal.type("ipython --simple-prompt --no-banner --no-confirm-exit", until="In [1]: ")
        terminal.type("%load_ext pte_magic", until="In [2]: ")
        terminal.type("a = bytearray(9999)", until="In [3]: ")
        shown = terminal.type("%pte a --walker stap", until="In [4]: ")
        assert "present" in shown
        assert ", walker stap" in shown
        terminal.type("exit", until="# ")
        os.write(terminal._ours, b"exit 3\r")
        assert terminal.program.wait(SECONDS) == 3
    finally:
        terminal.close()
