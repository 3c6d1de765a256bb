"""Paths of memory cgroups, by the inodes of their directories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.linux import kernel_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def paths(inodes: Iterable[int]) -> dict[int, str]:
    """Return the path of each memory cgroup, as in /proc/PID/cgroup, by the inode of its directory.

    Paths are printable text: see `kernel_text.shown`.

    Cgroups without a directory here are left out: they are not mounted here, or removed by now. (For a page frame of a
    removed cgroup, the kernel names the next living cgroup above: ``page_cgroup_ino()``, mm/memcontrol.c.)
    """
    wanted = set(inodes)
    return {inode: path for inode, path in _cgroups() if inode in wanted} if wanted else {}


def _cgroups() -> Iterator[tuple[int, str]]:
    groups = [line.split(b":", 2) for line in kernel_text.lines(_read_own("cgroup"))]
    # The controller is in a hierarchy of version 1, or else in that of version 2; only the former are named there.
    kind = b"cgroup" if any(b"memory" in controllers.split(b",") for _, controllers, _ in groups) else b"cgroup2"
    mount = next(
        (found for found in _mounts() if found.kind == kind and (kind == b"cgroup2" or found.has_memory)), None
    )
    if mount is None:
        return
    for directory, _, _ in os.walk(mount.point):
        try:
            inode = os.stat(directory).st_ino  # noqa: PTH116  (bytes)
        except FileNotFoundError:  # just removed
            continue
        path = mount.root.rstrip(b"/") + directory.removeprefix(mount.point) or b"/"
        yield inode, kernel_text.shown(path)


class _Mount(NamedTuple):
    """A mounted file system: its root, its place, its type, and whether it has a controller ``memory``."""

    root: bytes
    point: bytes
    kind: bytes
    has_memory: bool


def _mounts() -> Iterator[_Mount]:
    r"""Yield the mounts here. Fields are cut at blanks, which are ``\040`` in paths: show_mountinfo()."""
    for line in kernel_text.lines(_read_own("mountinfo")):
        fields = line.split(b" ")
        kind, _, options = fields[fields.index(b"-") + 1 :][:3]
        root, point = map(kernel_text.unescaped, fields[3:5])
        yield _Mount(root, point, kind, b"memory" in options.split(b","))


def _read_own(name: str) -> bytes:
    """Return a file about this thread: those of the process are empty when its first thread has exited."""
    try:
        return kernel_text.read(f"/proc/thread-self/{name}")
    except OSError:
        return b""
