"""A plugin of pytest for ``make check``: the tests that need neither the lab nor a browser, but for the slow ones.

A test file is one of them unless its name, or that of its folder, is below. At the end, files are listed that took as
much of a processor as those that are named as slow. That hardly depends on what else the machine does.

Tests of properties try fewer examples than in the whole run. With `PART`, such as "1/2", a pytest runs every second
file only, so that two of them have all.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

HERE = Path(__file__).parent
LAB = frozenset(f"vm/test_{name}.py" for name in ("background", "guests", "lab", "root", "tree"))
BROWSER = frozenset({"browser"})
SLOW = frozenset(
    {
        "api/machine",  # looks at each process of the host
        "api/snapshots/test_damaged.py",
        "api/snapshots/test_snapshot.py",
        "api/test_doctor.py",
        "api/test_first_thread_exited.py",
        "api/test_hostile_names.py",
        "api/test_interrupted.py",
        "api/test_frame_base_class.py",
        "api/test_variables.py",
        "api/test_watch.py",
        "attack",
        "cli/test_faults_command.py",
        "cli/test_shown_process.py",
        "cli/test_written_output.py",
        "helper/test_endings.py",
        "helper/test_serve.py",
        "helper/test_threat_model.py",  # asks whether tests have passed, of all folders
        "hosts",
        "targets/test_real_libraries.py",
        "test_binder.py",  # makes a Debian
        "test_examples.py",
        "test_wheel.py",
        "walkers/test_disjoint_rows.py",
        "walkers/test_forked_walkers.py",
        "walkers/test_races.py",
        "walkers/test_several_ranges.py",
    }
)
"""Those that take more seconds of a processor than `LIMIT`, or wait for longer than that."""
LIMIT = 10
EXAMPLES = 20
"""Of each property; the whole run has 100, by Hypothesis' default."""
PART = "PTE_MAGIC_PART"
"""In the environment: which of how many parts of the files."""


def files(part: str) -> set[Path]:
    """Return a part of the files that are not left out."""
    number, parts = map(int, part.split("/"))
    return set(sorted(path for path in HERE.rglob("test_*.py") if not _is_left_out(path))[number - 1 :: parts])


def _is_left_out(path: Path) -> bool:
    names = {one.relative_to(HERE).as_posix() for one in (path, *path.parents) if one.is_relative_to(HERE)}
    return bool(names & (LAB | BROWSER | SLOW))


class Quick:
    """Leaves those out, and measures what the others take."""

    def __init__(self, part: str) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._files = files(part)

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Tell pytest not to look into a folder that is named, and into files of other parts."""
        is_ours = collection_path in self._files if collection_path.is_file() else not _is_left_out(collection_path)
        return None if is_ours else True  # None: pytest decides

    def pytest_collection(self) -> None:
        """Have fewer examples: conftest.py has chosen the other settings by now."""
        settings.register_profile("quick", settings(), max_examples=EXAMPLES)
        settings.load_profile("quick")

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
    config.pluginmanager.register(Quick(os.environ.get(PART, "1/1")), "quick tests")
