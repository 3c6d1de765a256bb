"""The tutorials are executed, with the assertions in their cells, as root and as somebody without privileges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"
NOBODY = 65534


def demo(user: int) -> subprocess.CompletedProcess[str]:
    identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []}
    return subprocess.run(
        [sys.executable, DEMO], capture_output=True, text=True, check=False, **(identity if os.geteuid() == 0 else {})
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: raw entries")
def test_the_demo_as_root_prints_raw_entries_of_its_array() -> None:
    done = demo(0)
    assert done.returncode == 0, done.stderr
    assert "walker bpf" in done.stdout
    assert "0x80000" in done.stdout  # a raw entry with NX set
    assert "2 MiB" in done.stdout
    assert done.stderr == ""


def test_the_demo_without_privileges_serves_and_says_what_it_could_not_see() -> None:
    done = demo(NOBODY if os.geteuid() == 0 else os.geteuid())
    assert done.returncode == 0, done.stderr
    assert "walker pagemap" in done.stdout
    assert "walker bpf" not in done.stdout
    assert "sudo make demo" in done.stderr
