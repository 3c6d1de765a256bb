"""What `make demo`, `make lab` and `make test` install, and what is left after an install that fails or is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
BPF = "pte_magic/walkers/bpf"
PYTHON = """#!/bin/sh
test "$1" = -m || exit 0  # the question for its version
echo "$@" >> made
mkdir -p .venv/bin
cp pip jupyter .venv/bin
printf '#!/bin/sh\\n' > .venv/bin/python
chmod +x .venv/bin/python
"""
PIP = """#!/bin/sh
echo "$@" >> installed
if [ -e kill ]; then touch .venv/half; kill -KILL "$PPID"; fi
test ! -e fail
"""
JUPYTER = """#!/bin/sh
for word; do case "$word" in --LabApp.default_url=/lab/tree/*) notebook=${word#*/lab/tree/};; esac; done
echo "run and saved" >> "$word/$notebook"  # the last word is the directory
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with what installs, and programs that only write down that they were called."""
    for name in ("Makefile", "pyproject.toml", "hatch_build.py"):
        shutil.copy(PROJECT / name, tmp_path)
    shutil.copytree(PROJECT / BPF, tmp_path / BPF)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "01_first_pte.ipynb").write_text("a lesson\n", encoding="utf-8")
    for name, text in (("python", PYTHON), ("pip", PIP), ("jupyter", JUPYTER)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def make(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", f"PYTHON={checkout}/python", "PACKAGES=", f"LESSONS={checkout}/lessons", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def installed(checkout: Path) -> list[str]:
    """Return what was installed, one line per call of pip."""
    lines = (checkout / "installed").read_text(encoding="utf-8").splitlines()
    return [line.partition("--editable ")[2] for line in lines]


def test_each_target_installs_what_it_needs_once_and_the_larger_one_has_the_smaller(checkout: Path) -> None:
    expected = []
    for target, extras in (("demo", "."), ("lab", ".[hosts,lab,parquet]"), ("lint", ".[hosts,lab,libraries,test]")):
        # ruff and mypy are not there: that the target fails then does not matter
        make(checkout, target)
        make(checkout, target)
        expected.append(extras)
        assert installed(checkout) == expected
    for target in ("lab", "demo"):
        assert make(checkout, target).returncode == 0
    assert installed(checkout) == expected
    (checkout / "pyproject.toml").touch()
    os.utime(checkout / "pyproject.toml", (2**33, 2**33))
    make(checkout, "demo")
    assert installed(checkout) == [*expected, "."]


@pytest.mark.parametrize("how", ["fail", "kill"])
@pytest.mark.parametrize("before", [[], ["demo"]], ids=["the first", "the second"])
def test_an_install_that_did_not_end_is_begun_anew(checkout: Path, before: list[str], how: str) -> None:
    for target in before:
        assert make(checkout, target).returncode == 0
    (checkout / how).touch()
    assert make(checkout, "lab").returncode != 0
    (checkout / how).unlink()
    (checkout / ".venv" / "half").touch()
    done = make(checkout, "demo")
    assert done.returncode == 0, done.stderr
    assert not (checkout / ".venv" / "half").exists()
    assert installed(checkout) == [*("." for _ in before), ".[hosts,lab,parquet]", "."]


def test_lab_opens_the_first_tutorial_in_a_copy_and_keeps_what_was_changed_there(checkout: Path) -> None:
    lesson, copy = checkout / "examples" / "01_first_pte.ipynb", checkout / "lessons" / "01_first_pte.ipynb"
    for times in (1, 2):
        done = make(checkout, "lab")
        assert done.returncode == 0, done.stderr
        assert f"Your copy of the tutorials is {checkout}/lessons." in done.stdout
        assert copy.read_text(encoding="utf-8") == "a lesson\n" + "run and saved\n" * times
    assert lesson.read_text(encoding="utf-8") == "a lesson\n"
    make(checkout, "lab", f"LESSONS={checkout}/new")
    assert (checkout / "new" / "01_first_pte.ipynb").read_text(encoding="utf-8") == "a lesson\nrun and saved\n"


def test_it_says_what_it_does(checkout: Path) -> None:
    said = make(checkout, "demo").stdout
    steps = ("virtual environment", "packages of Python", "page tables")
    assert [next(at for at, line in enumerate(said.splitlines()) if step in line) for step in steps] == [0, 1, 2]
