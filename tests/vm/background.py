"""A plugin of pytest: the lab is built, and its guests run, while other tests run on another processor.

What the lab does is told between the tests. It ends with pytest, whatever happens to that.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING

from rootfs import missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from _pytest.capture import CaptureManager
    from _pytest.terminal import TerminalReporter

NAME = "guests in the background"
PROGRAM = Path(__file__).with_name("run_guests.py")
SECONDS = 120
"""Far more than it takes to end guests, and to remove a root that is half built."""


class Background:
    """The program that runs the guests, from the first test on."""

    def __init__(self, config: pytest.Config, names: Sequence[str]) -> None:
        self._reporter: TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
        self._capture: CaptureManager | None = config.pluginmanager.getplugin("capturemanager")
        self.names = tuple(names)
        """The guests that run."""
        self._directory = TemporaryDirectory()
        self._to = Path(self._directory.name)
        log = self._to / "log"
        with log.open("w", encoding="utf-8") as stdout:
            self._program = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "--", sys.executable, PROGRAM, self._to, *names],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._log: IO[str] = log.open(encoding="utf-8", errors="replace")
        self._told = ""

    def pytest_runtest_logfinish(self) -> None:
        """Tell what the lab has done during a test."""
        self.tell()

    def pytest_sessionfinish(self) -> None:
        """End what is not needed any more; it takes back what it has done by halves."""
        self._program.terminate()
        try:
            self._program.wait(SECONDS)
        finally:
            self._program.kill()
            self.tell()
            self._log.close()
            self._directory.cleanup()

    def tell(self) -> None:
        """Print what the lab has printed since."""
        said = self._log.read()
        self._told += said
        if said and self._reporter and self._capture:
            with self._capture.global_and_fixture_disabled():
                self._reporter.ensure_newline()
                self._reporter.write(said)
                self._reporter.ensure_newline()

    def result(self, name: str) -> str:
        """Wait for a guest; return what was wrong in it. It means that the other tests have ended."""
        if self._program.stdin and not self._program.stdin.closed:
            self._program.stdin.close()
        file = self._to / name
        while not file.exists():
            ended = self._program.poll() is not None
            self.tell()
            if ended and not file.exists():
                return f"the guests are no more:\n{self._told[-3000:]}"
            time.sleep(0.5)
        self.tell()
        return file.read_text(encoding="utf-8")


def begin(config: pytest.Config, names: Sequence[str]) -> None:
    """Start the guests that are named, if the lab works here."""
    if not missing():
        config.pluginmanager.register(Background(config, names), NAME)


def of(config: pytest.Config) -> Background:
    """Return what runs."""
    found = config.pluginmanager.getplugin(NAME)
    assert isinstance(found, Background)
    return found
