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
COLLECT = """
import pytest

class Empty(pytest.Module):
    def collect(self):
        return []

class Names:
    def pytest_pycollect_makemodule(self, module_path, parent):
        print("found", module_path)
        return Empty.from_parent(parent, path=module_path)

pytest.main(["-p", "no:cacheprovider", "-p", "quick", "--collect-only", "-q"], plugins=[Names()])
"""
"""Prints in which files pytest would look for tests, without importing them."""


def collected(part: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(HERE), "PYTEST_ADDOPTS": "", quick.PART: part}
    command = [sys.executable, "-c", COLLECT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent, env=environment)
    found = [Path(line.removeprefix("found ")) for line in done.stdout.splitlines() if line.startswith("found ")]
    return [path.relative_to(HERE).as_posix() for path in found]


def test_its_parts_have_all_test_files_but_those_that_are_named() -> None:
    found = [*collected("1/2"), *collected("2/2")]
    files = {path.relative_to(HERE) for path in HERE.rglob("test_*.py")}
    left_out = {path for path in files if {path, *path.parents} & {Path(name) for name in (*NAMED, *APART)}}
    assert {str(path) for path in files - left_out} == {*found}
    assert len(found) == len({*found})


def test_what_is_named_is_there() -> None:
    assert [name for name in NAMED if not (HERE / name).exists()] == []
