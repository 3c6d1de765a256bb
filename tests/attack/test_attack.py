"""The bench of attacks: each still runs, and finds what is broken on purpose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if "NEEDS_ROOT = " in path.read_text(encoding="utf-8"))


def run(*options: str) -> tuple[int, str]:
    """Run the bench with a fixed seed; return its exit status and what it said."""
    command = [sys.executable, str(HERE / "attack.py"), "--minutes", "0", "--seed", "1", "--rounds", "1", *options]
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MINUTES", "SEED", "ONLY", "ROUNDS"}
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout + done.stderr


def skipped_without_root(said: str) -> None:
    if found := re.search(r"is not run: (it needs root: .*)", said):
        pytest.skip(found[1])


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_of_one_round_counts_what_it_did_and_raises_no_alarm(name: str) -> None:
    code, said = run("--only", name)
    skipped_without_root(said)
    assert code == 0, said
    (row,) = (line for line in said.splitlines() if line.startswith(f"| {name} "))
    assert re.search(r"\| 1 \| (\d[^|]*) \|", row), said
    assert any(int(number.replace(",", "")) for number in re.findall(r"\b[\d,]+\b", row.split("|")[4])), said
    assert "SEED=1: no alarms" in said


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_raises_an_alarm_about_what_is_broken(name: str) -> None:
    code, said = run("--only", name, "--broken", "--rounds", "20")
    skipped_without_root(said)
    assert code == 1, said
    assert f"make attack ONLY={name} SEED=" in said
    assert "SEED=1: 1 alarms" in said
