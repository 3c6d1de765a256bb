"""A plugin of pytest: what failed is tested once more, alone, when all other tests have ended.

Both results are printed. A test that fails twice has failed; one that passes the second time is listed as unsteady in
the last lines. A pytest that this one starts, in a guest or in a network of its own, writes its unsteady tests into the
file that `VARIABLE` names, so the first pytest lists them, too.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

VARIABLE = "PTE_MAGIC_UNSTEADY"
"""In the environment: a file to which names of unsteady tests are appended, a line each."""
_FIRST: Any = "tried again"  # outcome of the report of a first failure: pytest counts it as neither passed nor failed


class Again:
    """Keeps what failed the first time, and tests it a second time."""

    def __init__(self) -> None:
        self._failed: dict[str, pytest.Item] = {}
        self._unsteady: list[str] = []
        self._second = False
        self._is_outermost = VARIABLE not in os.environ
        if self._is_outermost:  # there is no file until there is something to tell: a pytest that is killed leaves none
            os.environ[VARIABLE] = str(Path(tempfile.gettempdir(), f"pte-magic-unsteady-{secrets.token_hex(8)}"))
        self._file = Path(os.environ[VARIABLE])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and not self._second:
            report.outcome = _FIRST
            self._failed[item.nodeid] = item
        elif report.failed and item.nodeid in self._unsteady:
            self._unsteady.remove(item.nodeid)
        return report

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return (_FIRST, "A", "FAILED, WILL BE TRIED AGAIN") if report.outcome == _FIRST else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        done = yield
        self._second = True
        items = list(self._failed.values())
        self._unsteady = list(self._failed)  # until it fails again
        for item in items:
            _renew(item)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=None)  # alone: with fixtures of its own
            if session.shouldstop:
                raise session.Interrupted(str(session.shouldstop))
        if self._unsteady:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in self._unsteady)
        return done

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        first = terminalreporter.getreports(_FIRST)
        if first:
            terminalreporter.section("FAILED THE FIRST TIME")
        for report in first:
            terminalreporter.section(f"{report.nodeid} ({report.when})", "_")
            report.toterminal(terminalreporter._tw)
            for title, text in report.sections:
                terminalreporter.section(title, "-")
                terminalreporter.write_line(text.rstrip("\n"))
        told = self._file.read_text(encoding="utf-8") if self._is_outermost and self._file.exists() else ""
        lines = told.splitlines() if self._is_outermost else self._unsteady
        if lines:
            terminalreporter.section("UNSTEADY: failed, and passed when tested once more, alone")
        for line in lines:
            terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        if self._is_outermost:
            self._file.unlink(missing_ok=True)
            os.environ.pop(VARIABLE, None)


def tell(file: Path, where: str) -> None:
    """Pass on what a pytest elsewhere has written into a file of its own, if it has, and remove the file."""
    if file.exists() and VARIABLE in os.environ:
        names = file.read_text(encoding="utf-8").splitlines()
        with Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as ours:
            ours.writelines(f"{name} ({where})\n" for name in names)
    file.unlink(missing_ok=True)


def _renew(item: pytest.Item) -> None:
    """Forget what the fixtures of a test gave it: they are made anew for the second time."""
    if isinstance(item, pytest.Function):
        item._initrequest()  # as pytest does when it makes the item
