"""Progress bars: seen by people only, and only by those who wait."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest
from conftest import python

LONG = """
import threading, time
from pte_magic import progress
with progress.bar("looking", 3, "process") as bar:
    for _ in range(3):
        time.sleep({seconds})
        bar.update()
assert threading.active_count() == 1
"""


@pytest.mark.parametrize(("seconds", "seen"), [(0.6, True), (0, False)])
def test_a_terminal_shows_what_takes_more_than_a_second(seconds: float, seen: bool) -> None:  # noqa: FBT001
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb", 0) as terminal:
        code = LONG.format(seconds=seconds)
        done = subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE, check=False)
        os.write(theirs, b"the end")  # or reading would wait, where there is nothing
        os.close(theirs)
        said = terminal.read(4096)
    assert done.returncode == 0, said
    assert done.stdout == b""
    assert (b"looking" in said) is seen, said
    assert (b"3/3" in said or b"2/3" in said) is seen


def test_a_pipe_gets_nothing() -> None:
    assert python(LONG.format(seconds=0.6)) == ""
    done = subprocess.run([sys.executable, "-c", LONG.format(seconds=0.6)], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
