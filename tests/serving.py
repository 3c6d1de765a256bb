"""Helpers for tests: real ones, each in a directory of its own, which any user can reach."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import left_behind
from waiting import SECONDS, wait_until

from pte_magic.helper import privileges

if TYPE_CHECKING:
    from collections.abc import Iterator

SCALE = float(os.environ.get("PTE_MAGIC_TEST_SCALE", "1"))
"""How often tests do what they do very often: a machine that is played by software has no time for a million."""
CLIENTS = max(int(100 * SCALE), 10)
"""How many of one user the tests' common helper takes at a time."""
_START = 5 * SECONDS  # it imports numpy: long, in a guest on a busy machine
COMMAND = (sys.executable, "-W", "error", "-m", "pte_magic", "serve")

left_behind.guard()
ENVIRONMENT = os.environ | privileges.NO_THREADS
"""With it, the command need not start itself again, which takes as long as starting it."""


class Helper:
    """A helper that serves.

    Attributes:
        path: Its socket.
        process: It.

    """

    def __init__(self, directory: Path, *options: str, before: tuple[str, ...] = ()) -> None:
        self.path = directory / "socket"
        self._log = directory / "log"
        self._command = (*before, *COMMAND, "--socket", str(self.path), *options)
        self.start()

    def start(self) -> None:
        """Start it, again if it was ended; return when it serves."""
        with self._log.open("ab") as log:
            begun = log.tell()
            self.process = subprocess.Popen(self._command, stderr=log, cwd="/", env=ENVIRONMENT)
        try:
            wait_until(
                lambda: "serving for" in self.log()[begun:] or self.process.poll() is not None,
                instead=self.log,
                seconds=_START,
            )
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise
        assert self.process.poll() is None, self.log()
        self._threads = self.threads()

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """Return what it has said so far."""
        return self._log.read_text(encoding="utf-8")

    def requests(self) -> list[dict[str, str]]:
        """Return what its log has of each request: uid, pid, owner, range, rows, status."""
        lines = [line.split() for line in self.log().splitlines() if " status " in line]
        return [dict(zip(words[::2], words[1::2], strict=True)) for words in lines]

    def descriptors(self) -> int:
        """Return how many files it has open, those of all its threads, each of which has a table of its own."""
        total = 0
        for task in self._tasks():
            with suppress(FileNotFoundError):  # it has just ended
                total += len(list(task.joinpath("fd").iterdir()))
        return total

    def threads(self) -> int:
        """Return how many threads it has: one, and one a client."""
        return len(list(self._tasks()))

    def resident(self) -> int:
        """Return its resident memory, in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE

    def alone(self) -> bool:
        """Tell whether it has forgotten all clients."""
        return self.threads() == self._threads

    def _tasks(self) -> Iterator[Path]:
        return Path(f"/proc/{self.pid}/task").iterdir()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@contextmanager
def serving(*options: str, before: tuple[str, ...] = ()) -> Iterator[Helper]:
    """Serve for root, and whom the options name, after the words of another command; nothing is left at the end."""
    with tempfile.TemporaryDirectory(prefix="pte-magic-helper-") as name:
        Path(name).chmod(0o755)
        helper = Helper(Path(name), *(options or ("--frames", "0")), before=before)
        try:
            yield helper
        finally:
            if helper.process.poll() is None:
                helper.process.terminate()
                try:
                    helper.process.wait(SECONDS)
                except subprocess.TimeoutExpired:
                    helper.process.kill()
                    helper.process.wait()
                    raise
