"""What fails is tested once more: a pytest of its own, on tests of which it is known how they end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import again
import pytest

CONFTEST = """
from again import Again

def pytest_configure(config):
    config.pluginmanager.register(Again())
"""
TESTS = """
import pathlib
import pytest

def first_time(name):
    mark = pathlib.Path(__file__).with_name(name)
    if mark.exists():
        return False
    mark.touch()
    return True

@pytest.fixture(scope="module")
def shared():
    yield [1]

@pytest.fixture
def broken_once():
    assert not first_time("setup")

@pytest.fixture
def not_taken_down_once():
    yield
    assert not first_time("teardown")

def test_steady(shared):
    assert shared == [1]

def test_unsteady(shared, tmp_path):
    print("said while it failed")
    assert not list(tmp_path.iterdir())
    (tmp_path / "left").touch()
    assert not first_time("unsteady"), "the first reason"

def test_wrong(shared):
    assert shared == [2], "always"

def test_broken_fixture(broken_once):
    pass

def test_broken_end(not_taken_down_once):
    pass
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_made.py").write_text(TESTS, encoding="utf-8")
    return tmp_path


def run(tree: Path, *words: str, file: Path | None = None) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if name not in {again.VARIABLE, "PYTEST_ADDOPTS"}}
    environment |= {"PYTHONPATH": str(Path(again.__file__).parent)} | ({again.VARIABLE: str(file)} if file else {})
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tree), str(tree), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tree)
    return done.returncode, done.stdout + done.stderr


def test_a_failure_twice_fails(tree: Path) -> None:
    status, said = run(tree)
    assert status == pytest.ExitCode.TESTS_FAILED
    assert (
        said.splitlines()[-1].strip("= ").startswith("1 failed, 5 passed, 4 tried again")
    )  # that with a broken end passed twice
    assert said.count("assert [1] == [2]") >= 2  # both results


def test_what_passes_the_second_time_is_unsteady(tree: Path) -> None:
    status, said = run(tree, "--deselect", "test_made.py::test_wrong", "--junit-xml=report.xml")
    assert status == pytest.ExitCode.OK, said
    assert "the first reason" in said
    assert "said while it failed" in said
    listed = said[said.index("UNSTEADY") :].splitlines()[1:-1]
    names = ("test_unsteady", "test_broken_fixture", "test_broken_end")
    assert listed == [f"test_made.py::{name}" for name in names]
    assert "<failure" not in (tree / "report.xml").read_text(encoding="utf-8")


def test_all_is_well_without_a_word(tree: Path) -> None:
    status, said = run(tree, "-k", "test_steady")
    assert status == pytest.ExitCode.OK
    assert "UNSTEADY" not in said
    assert "tried again" not in said


def test_who_started_it_is_told(tree: Path) -> None:
    file = tree / "unsteady"
    status, _ = run(tree, "-k", "test_unsteady", file=file)
    assert status == pytest.ExitCode.OK
    assert file.read_text(encoding="utf-8") == "test_made.py::test_unsteady\n"
