"""A pytest that is killed: nothing that its tests started runs on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from waiting import wait_until

HERE = Path(__file__).parent

# Of a child of a child, too, and of a helper, which has dropped its privileges, where there may be one.
WAITS = """
import os, subprocess, time
from pathlib import Path

def test_that_waits(helper):
    started = subprocess.Popen(["sh", "-c", "sleep 6000; true"])
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    while not children.read_text():
        time.sleep(0.02)
    pids = [started.pid, *children.read_text().split(), *([helper.pid] if helper else [])]
    Path("pids.part").write_text(" ".join(map(str, pids)))
    Path("pids.part").rename("pids")
    time.sleep(6000)
"""


def test_nothing_is_left_of_tests_that_are_killed(tmp_path: Path) -> None:
    file = tmp_path / "test_that_waits.py"
    file.write_text(WAITS, encoding="utf-8")
    options = ["-p", "no:cacheprovider", "-p", "conftest", "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, str(file)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "vm")])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as tests:
        assert tests.stdout
        try:
            wait_until(lambda: (tmp_path / "pids").exists() or tests.poll() is not None)
            assert tests.poll() is None, tests.stdout.read()
        finally:
            tests.kill()
    pids = (tmp_path / "pids").read_text(encoding="ascii").split()
    assert len(pids) == (2 if os.geteuid() else 3)
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in pids))
