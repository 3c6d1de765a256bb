"""``make check``: every test file belongs to it that is not named as one that needs more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import quick

HERE = Path(__file__).parent
NAMED = quick.LAB | quick.BROWSER | quick.SLOW
APART = ("hosts/lab", "vm/guest", "vm/root", "vm/signed", "vm/systemd")
"""Where pytest does not look by itself: pyproject.toml."""


def test_it_has_all_test_files_but_those_that_are_named() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "quick", "--collect-only", "-q"]
    environment = os.environ | {"PYTHONPATH": str(HERE), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    collected = {line.partition("::")[0].removeprefix("tests/") for line in done.stdout.splitlines() if "::" in line}
    files = {path.relative_to(HERE) for path in HERE.rglob("test_*.py")}
    left_out = {path for path in files if {path, *path.parents} & {Path(name) for name in (*NAMED, *APART)}}
    assert {str(path) for path in files - left_out} == collected


def test_what_is_named_is_there() -> None:
    assert [name for name in NAMED if not (HERE / name).exists()] == []
