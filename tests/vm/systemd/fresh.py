"""A fresh machine: ordinary users, a copy of the project as one of them fetches it, and what README has her type."""

from __future__ import annotations

import ctypes
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from recipe import PROJECT

JANE, JOE = "jane", "joe"
"""Jane may use sudo; Joe is somebody else."""
NOT_FETCHED = (".*", "*.bpf.o", "__pycache__", "tests", "examples")  # what git does not know, and what is not installed

# A guest has no network, but what would be downloaded. "false" is what says no to isolated builds.
PIP = """
[install]
no-index = true
no-build-isolation = false
"""


def prepare() -> None:
    """Make the users, and Jane's copy of the project in her home, which nobody else may enter; what is there stays."""
    known = {user.pw_name for user in pwd.getpwall()}
    for name in {JANE, JOE} - known:
        subprocess.run(["useradd", "--create-home", "--user-group", "--shell", "/bin/bash", name], check=True)
        home(name).chmod(0o700)
    sudo = Path("/etc/sudoers.d/jane")
    sudo.write_text(f"{JANE} ALL=(ALL) NOPASSWD: ALL\n", encoding="ascii")
    sudo.chmod(0o440)
    Path("/etc/pip.conf").write_text(PIP, encoding="ascii")
    copy = home(JANE) / "pte-magic"
    if copy.exists():  # as when a test is tried again
        return
    shutil.copytree(PROJECT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_FETCHED))
    subprocess.run(["chown", "--recursive", f"{JANE}:{JANE}", copy], check=True)


def home(name: str) -> Path:
    return Path(pwd.getpwnam(name).pw_dir)


def commands() -> list[str]:
    """Return the commands of README's "Raw entries without root", as they are there."""
    _, section = (PROJECT / "README.md").read_text(encoding="utf-8").split("\n## Raw entries without root\n")
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block
    return [line.partition("#")[0].strip() for line in block[1].splitlines()]


def as_user(name: str, line: str) -> list[str]:
    """Return the command that runs a line of shell where a user has her copy of the project, as after logging in."""
    return ["runuser", "--login", name, "--command", f"cd pte-magic && {line}"]


def become(name: str) -> None:
    """Turn this process, a child of the tests, into one of a user, in his groups."""
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as after exec, /proc/self is that user's
