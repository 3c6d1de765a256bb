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

import again
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
        self.names = tuple(names)
        """The guests that run."""
        self._reporter: TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
        self._capture: CaptureManager | None = config.pluginmanager.getplugin("capturemanager")
        self._directory = TemporaryDirectory()
        self._to = Path(self._directory.name)
        (self._to / "log").touch()
        self._log: IO[str] = (self._to / "log").open(encoding="utf-8", errors="replace")
        self._told = ""
        self._program: subprocess.Popen[str] | None = None
        self._told_of: set[str] = set()

    def pytest_runtest_logstart(self) -> None:
        """Begin with the first test."""
        if self._program is None:
            self._program = self._started(self.names)

    def _started(self, names: Sequence[str]) -> subprocess.Popen[str]:
        with (self._to / "log").open("a", encoding="utf-8") as stdout:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "--", sys.executable, PROGRAM, self._to, *names],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def pytest_runtest_logfinish(self) -> None:
        """Tell what the lab has done during a test."""
        self.tell()

    def pytest_sessionfinish(self) -> None:
        """End what is not needed any more; it takes back what it has done by halves."""
        try:
            if self._program:
                self._end(self._program)
        finally:
            self.tell()
            self._log.close()
            self._directory.cleanup()

    def _end(self, program: subprocess.Popen[str]) -> None:
        program.terminate()
        try:
            program.wait(SECONDS)
        finally:
            program.kill()

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
        """Wait for a guest; return what was wrong in it.

        Who asks again after something was wrong has the guest run again, alone: unless its own pytest has tested what
        failed a second time.
        """
        assert self._program
        file = self._to / name
        if name in self._told_of and not (self._to / f"{name}.final").exists():
            self._end(self._program)
            file.unlink(missing_ok=True)
            self._program = self._started([name])
        self._told_of.add(name)
        while not file.exists():
            ended = self._program.poll() is not None
            self.tell()
            if ended and not file.exists():
                return f"the guests are no more:\n{self._told[-3000:]}"
            time.sleep(0.5)
        self.tell()
        again.tell(self._to / f"{name}.unsteady", f"guest {name}")
        return file.read_text(encoding="utf-8")


def begin(config: pytest.Config, names: Sequence[str]) -> None:
    """Have the guests that are named run, if the lab works here."""
    if not missing():
        config.pluginmanager.register(Background(config, names), NAME)


def of(config: pytest.Config) -> Background:
    """Return what runs."""
    found = config.pluginmanager.getplugin(NAME)
    assert isinstance(found, Background)
    return found
