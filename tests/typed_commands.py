"""The command ``pte-magic`` as a user runs it: in a process of its own, with pipes or a terminal, as root or not."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conftest import _BECOME, WIDE
from waiting import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
_WIDE = ENVIRONMENT | {"COLUMNS": str(WIDE)}
_COMMANDS = "decode, diff, doctor, faults, machine, main, output, show, snapshot, watch, why"
_AS_USER = f"from pte_magic.cli import {_COMMANDS}\n{{become}}\nimport sys; sys.exit(main())"


def words(*typed: object, user: int | None = None) -> list[str]:
    """Return the line that runs the command; a `user` need not be able to read where Python is installed."""
    program = ["-m", "pte_magic"] if user is None else ["-c", _AS_USER.format(become=_BECOME.format(user=user))]
    return [sys.executable, "-W", "error", *program, *map(str, typed)]


def run(*typed: object, user: int | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command with pipes, in lines as long as they get, or as the options of `subprocess.run` say."""
    usual: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": _WIDE, "cwd": "/"}
    return subprocess.run(words(*typed, user=user), text=True, timeout=SECONDS, check=False, **(usual | options))


def said(*typed: object, **options: Any) -> str:
    """Run the command, which has to succeed and complain of nothing; return what it wrote."""
    done = run(*typed, **options)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@dataclass
class Terminal:
    """A terminal, and what runs in it.

    Attributes:
        process: What runs.
        text: What it has written so far.

    """

    process: subprocess.Popen[bytes]
    _fd: int
    text: str = ""

    def read_until(self, what: str) -> str:
        """Read until a text comes; return all that came."""
        while what not in self.text:
            assert select.select([self._fd], [], [], SECONDS)[0], self.text
            try:
                self.text += os.read(self._fd, 1 << 16).decode(errors="replace")
            except OSError:  # nobody has it open any more
                assert what in self.text, self.text
        return self.text

    def end(self) -> str:
        """Read until it ends; return all that it wrote, with lines as a file has them."""
        while select.select([self._fd], [], [], SECONDS)[0]:
            try:
                self.text += os.read(self._fd, 1 << 16).decode()
            except OSError:
                break
        self.process.wait(SECONDS)
        return self.text.replace("\r\n", "\n")


@contextmanager
def terminal(*typed: object, columns: int = 80, **environment: str) -> Iterator[Terminal]:
    """Run the command in a terminal of so many columns; it is killed in the end if it still runs."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    env = ENVIRONMENT | {"TERM": "xterm"} | environment
    process = subprocess.Popen(words(*typed), stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd="/",
                               start_new_session=True)  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
