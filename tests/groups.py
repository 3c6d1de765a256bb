"""Memory cgroups: this process' own one, and one below it, made for a while."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Group:
    """A memory cgroup: its path as in /proc/PID/cgroup, and its directory."""

    path: str
    directory: Path

    def enter(self) -> None:
        """Have this process become a member."""
        (self.directory / "cgroup.procs").write_text("0", encoding="ascii")


def own_group() -> str:
    """Return the path of this process' memory cgroup."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    found = re.search(r"^\d+:(?:\S+,)?memory(?:,\S+)?:(.*)$", lines, re.MULTILINE) or re.search(
        r"^0::(.*)$", lines, re.MULTILINE
    )
    if not found:
        pytest.skip("needs a hierarchy of cgroups that is mounted")
    return found[1]


@contextmanager
def memory_group() -> Iterator[Group]:
    """Make a group below this process' own one; whoever is in it has to end before the block does."""
    version_1 = Path("/sys/fs/cgroup/memory")
    root = version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")
    parent = root / own_group().removeprefix("/")
    if root != version_1 and "memory" not in (parent / "cgroup.subtree_control").read_text(encoding="ascii").split():
        pytest.skip(f"needs `memory` in {parent}/cgroup.subtree_control")
    directory = parent / "pte-magic-test"
    directory.mkdir()
    try:
        yield Group(f"{own_group().rstrip('/')}/{directory.name}", directory)
    finally:
        wait_until(lambda: not (directory / "cgroup.procs").read_text(encoding="ascii"))
        directory.rmdir()
