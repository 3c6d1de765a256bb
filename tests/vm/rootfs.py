"""Builds the lab's root, once for each recipe, and keeps it in the user's cache."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from architectures import ALL, AMD64, Architecture
from recipe import digest
from steps import build, say

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("mmdebstrap", "setpriv", "unshare", *dict.fromkeys(one.qemu[0] for one in ALL))


class LabError(Exception):
    """The lab cannot be built or used here; the message says what is missing."""


class System:
    """The files of one architecture, in a directory and in a disk for the guests."""

    def __init__(self, architecture: Architecture, home: Path) -> None:
        self.architecture, self.files, self.disk = architecture, home / "root", home / "root.img"
        names = (path.name.removeprefix("vmlinuz-") for path in (self.files / "boot").glob("vmlinuz-*"))
        self.releases = sorted(names, key=lambda name: ([int(number) for number in re.findall(r"\d+", name)], name))


class Root:
    """All systems: the one for `in_root`, which has this machine's architecture, and those that guests have."""

    def __init__(self, home: Path) -> None:
        self.systems = [System(one, home if one is AMD64 else home / one.name) for one in ALL]
        self.files, self.work = self.systems[0].files, home / "work"

    def find(self, kernel: str) -> tuple[System, str]:
        """Return the system and the release of a kernel.

        That is the release that begins with "6.12", or that of "trixie", or the "newest"; other flavours than x86-64's
        are appended to that: "6.12-arm64", "newest-arm64-16k", "bookworm-686-pae".
        """
        named = {flavour: system for system in self.systems for flavour in system.architecture.kernels}
        flavour = max((name for name in named if kernel.endswith(f"-{name}")), key=len, default="amd64")
        system, wanted = named[flavour], kernel.removesuffix(f"-{flavour}")
        suites = system.architecture.kernels[flavour]
        releases = [one for one in system.releases if one.endswith(f"-{flavour}")]
        if wanted == "newest":
            return system, releases[-1]
        if wanted in suites:
            return system, releases[suites.index(wanted)]
        for release in releases:
            if release.startswith(wanted) and not release.removeprefix(wanted)[:1].isdigit():
                return system, release
        every = ", ".join(release for one in self.systems for release in one.releases)
        message = f"kernel {kernel!r}: the lab has {every}; give the beginning of one of these, or all of it"
        raise LabError(message)

    def release(self, kernel: str) -> str:
        """Return the release of a kernel, by a name as `find` knows them."""
        return self.find(kernel)[1]


def missing() -> str:
    """Say in a line why the lab does not work here; an empty string if it does."""
    if os.geteuid():
        return "needs root: the lab is a Debian of its own, which only root can make and enter"
    if platform.machine() != "x86_64":
        return f"needs an x86-64 machine: the lab's Debian does not run on {platform.machine()}"
    absent = " and ".join(name for name in PROGRAMS if not shutil.which(name))
    return f"needs {absent}: make test installs them on Debian and its relatives" if absent else ""


@cache
def ready() -> Root:
    """Return the root, which is built if there is none of this recipe; it stays as long as this process uses it."""
    if problem := missing():
        raise LabError(problem)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pte-magic" / "lab"
    base.mkdir(parents=True, exist_ok=True)
    home = base / digest()
    with locked(base / "lock"):
        if not home.exists():
            for old in base.iterdir():
                _remove_unless_used(old)
            _build(base / f"{home.name}.part")
            (base / f"{home.name}.part").rename(home)
            say(f"the lab is ready: {home}")
        in_use = (home / "in-use").open("w", encoding="ascii")
        with suppress(BlockingIOError):
            fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(home / "work/runs")  # what killed processes left: there is no other user
        fcntl.flock(in_use, fcntl.LOCK_SH)
    _KEPT.append(in_use)
    return Root(home)


_KEPT: list[IO[str]] = []  # a lock lasts as long as its file is open


@contextmanager
def locked(path: Path, work: str = "builds the lab") -> Iterator[None]:
    """Let one process at a time see whether some `work` has been done, and do it."""
    with path.open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process {work}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_unless_used(old: Path) -> None:
    """Remove the root of another recipe, or what a killed build left."""
    if not old.is_dir():
        return
    with (old / "in-use").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        say(f"removing {old}")
        remove(old)


def remove(tree: Path) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", "--", tree], check=True)


def _build(part: Path) -> None:
    """Build all in `part`; leave nothing when that fails, or is interrupted."""
    part.mkdir()
    try:
        build(part)
    except subprocess.CalledProcessError as error:
        tail = (part / "log").read_text(encoding="utf-8", errors="replace")[-3000:]
        message = f"building the lab failed:\n{tail}"
        raise LabError(message) from error
    finally:
        if sys.exc_info()[0]:
            remove(part)
