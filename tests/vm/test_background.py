"""Building the lab while other tests run: an interrupt ends all of it, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from rootfs import missing
from waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")

HERE = Path(__file__).parent


def processes(mark: str) -> list[bytes]:
    """Return the command lines of the processes that have a text in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (directory / "environ").read_bytes():
                found.append((directory / "cmdline").read_bytes())
        except OSError:
            pass  # it ended
    return found


def test_an_interrupt_while_the_lab_is_built_leaves_nothing(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / "test_guests.py")]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(temporary), "MARK": mark}
    tests = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    lab = tmp_path / "cache/pte-magic/lab"
    try:
        wait_until(lambda: any(lab.glob("*.part/root/*")), seconds=600)  # Debian's first files
        assert any(b"mmdebstrap" in words for words in processes(mark))
        tests.send_signal(2)
        said = tests.communicate(timeout=SECONDS)[0]
    finally:
        tests.kill()
        tests.communicate()
    assert tests.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "Debian" in said  # what it did was told
    assert processes(mark) == []
    assert [path.name for path in lab.iterdir()] == ["lock"]
    assert list(temporary.iterdir()) == []
