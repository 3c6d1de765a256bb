"""A plugin of pytest for ``make check``: the tests that need neither the lab nor a browser, but for the slow ones.

A test file is one of them unless its name, or that of its folder, is below. At the end, files are listed that took as
much of a processor as those that are named as slow. That hardly depends on what else the machine does.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

HERE = Path(__file__).parent
LAB = frozenset(f"vm/test_{name}.py" for name in ("background", "guests", "lab", "root"))
BROWSER = frozenset({"browser"})
SLOW = frozenset(
    {
        "api/machine",  # looks at each process of the host
        "api/snapshots/test_damaged.py",
        "api/snapshots/test_snapshot.py",
        "api/test_doctor.py",
        "api/test_first_thread_exited.py",
        "api/test_hostile_names.py",
        "api/test_variables.py",
        "attack",
        "helper/test_endings.py",
        "helper/test_serve.py",
        "helper/test_threat_model.py",  # asks whether tests have passed, of all folders
        "hosts",
        "targets/test_real_libraries.py",
        "test_binder.py",  # makes a Debian
        "test_examples.py",
        "test_wheel.py",
    }
)
"""Those that take more seconds of a processor than `LIMIT`, or wait for longer than that."""
LIMIT = 10


class Quick:
    """Leaves those out, and measures what the others take."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Tell pytest not to look into a file or folder that is named."""
        name = collection_path.relative_to(HERE).as_posix() if collection_path.is_relative_to(HERE) else ""
        return True if name in LAB | BROWSER | SLOW else None  # None: pytest decides

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Add up the time of processors, with that of children."""
        before = sum(os.times()[:4])
        done = yield
        self._seconds[item.nodeid.partition("::")[0]] += sum(os.times()[:4]) - before
        return done

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """List files that belong to the slow ones."""
        for name, seconds in self._seconds.items():
            if seconds > LIMIT:
                line = (
                    f"{name} took {seconds:.0f} s of a processor: if it always does, name it in SLOW of tests/quick.py"
                )
                terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    """Take part."""
    config.pluginmanager.register(Quick(), "quick tests")
