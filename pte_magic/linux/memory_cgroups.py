"""Memory cgroups: their paths, by the inodes of their directories, and the limits of that of a process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.linux import kernel_text, mounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pte_magic.linux.mounts import Mount

_UNLIMITED = 1 << 62  # from here on: the first version has the largest number of pages for it


class Limits(NamedTuple):
    """A memory cgroup: what it uses, and may use, in bytes; None for no limit, or what its version does not have.

    Attributes:
        path: As in /proc/PID/cgroup.
        file: The file of its limit.
        usage: Memory that it uses.
        cached: Part of this: pages of files, which can be had back.
        limit: The most that it may use.
        high: From here on it is slowed down.
        swap_limit: The most that it may swap out.
        swap_usage: Swap space that it uses.
        met: How often it was at its limit.
        swappiness: How gladly it is swapped.

    """

    path: str
    file: str
    usage: int
    cached: int
    limit: int | None
    high: int | None
    swap_limit: int | None
    swap_usage: int | None
    met: int
    swappiness: int | None

    @property
    def high_file(self) -> str:
        """The file of `high`, which the second version has."""
        return f"{self.file.removesuffix('max')}high"

    @property
    def room(self) -> int:
        """Bytes that it may still use, after what can be had back."""
        return _UNLIMITED if self.limit is None else max(self.limit - self.usage + self.cached, 0)


def paths(inodes: Iterable[int]) -> dict[int, str]:
    """Return the path of each memory cgroup, as in /proc/PID/cgroup, by the inode of its directory.

    Paths are printable text: see `kernel_text.shown`.

    Cgroups without a directory here are left out: they are not mounted here, or removed by now. (For a page frame of a
    removed cgroup, the kernel names the next living cgroup above: ``page_cgroup_ino()``, mm/memcontrol.c.)
    """
    wanted = set(inodes)
    return {inode: path for inode, path in _cgroups() if inode in wanted} if wanted else {}


def of_process(cgroup: bytes) -> Limits | None:
    """Return the memory cgroup of a process that has the least room: its own, or one above it.

    Args:
        cgroup: The text of its /proc/PID/cgroup.

    Returns:
        None without a controller of memory, or if its directory is not mounted here.

    """
    kind, groups = _hierarchy(cgroup)
    if (mount := _mount(kind)) is None:
        return None
    is_second = kind == b"cgroup2"
    path = next(path for controllers, path in groups if (not controllers if is_second else b"memory" in controllers))
    below = path.removeprefix(mount.root.rstrip(b"/")).strip(b"/")
    if below.startswith(b".."):  # outside of this cgroup namespace
        return None
    parts = below.split(b"/") if below else []
    places = [b"/".join([mount.point, *parts[:depth]]) for depth in range(len(parts), -1, -1)]
    found = [limits for place in places if (limits := _limits(place, mount, is_second=is_second))]
    return min(found, key=lambda limits: limits.room, default=None)


def _limits(place: bytes, mount: Mount, *, is_second: bool) -> Limits | None:
    def read(name: str) -> int | None:
        try:
            text = kernel_text.read(os.fsdecode(place) + f"/memory.{name}")
            number = _UNLIMITED if text.startswith(b"max") else int(text)
        except (OSError, ValueError):
            return None
        return None if number >= _UNLIMITED else number

    def table(name: str) -> dict[str, int]:
        try:
            lines = kernel_text.lines(kernel_text.read(os.fsdecode(place) + f"/memory.{name}"))
        except OSError:
            return {}
        return {key.decode(): int(value) for key, _, value in (line.partition(b" ") for line in lines)}

    usage = read("current" if is_second else "usage_in_bytes")
    if usage is None:  # the root of the second version has no such file
        return None
    stat = table("stat")
    cached = sum(stat.get(name if is_second else f"total_{name}", 0) for name in ("inactive_file", "active_file"))
    limit = read("max" if is_second else "limit_in_bytes")
    path = mount.root.rstrip(b"/") + place.removeprefix(mount.point) or b"/"
    return Limits(
        kernel_text.shown(path),
        os.fsdecode(place) + ("/memory.max" if is_second else "/memory.limit_in_bytes"),
        usage,
        min(cached, usage),
        limit,
        read("high") if is_second else None,
        read("swap.max") if is_second else None,
        read("swap.current") if is_second else None,
        table("events").get("max", 0) if is_second else read("failcnt") or 0,
        None if is_second else read("swappiness"),
    )


def _cgroups() -> Iterator[tuple[int, str]]:
    mount = _mount(_hierarchy(_read_own("cgroup"))[0])
    if mount is None:
        return
    for directory, _, _ in os.walk(mount.point):
        try:
            inode = os.stat(directory).st_ino  # noqa: PTH116  (bytes)
        except FileNotFoundError:  # just removed
            continue
        path = mount.root.rstrip(b"/") + directory.removeprefix(mount.point) or b"/"
        yield inode, kernel_text.shown(path)


def _hierarchy(cgroup: bytes) -> tuple[bytes, list[tuple[list[bytes], bytes]]]:
    """Return the type of the file system that has the controller of memory, and controllers and path of each line."""
    lines = [line.split(b":", 2) for line in kernel_text.lines(cgroup)]
    groups = [([name for name in names.split(b",") if name], path) for _, names, path in lines]
    # The controller is in a hierarchy of version 1, or else in that of version 2; only the former are named there.
    return b"cgroup" if any(b"memory" in names for names, _ in groups) else b"cgroup2", groups


def _mount(kind: bytes) -> Mount | None:
    return next(
        (
            found
            for found in mounts.of_mountinfo(_read_own("mountinfo"))
            if found.kind == kind and (kind == b"cgroup2" or b"memory" in found.options)
        ),
        None,
    )


def _read_own(name: str) -> bytes:
    """Return a file about this thread: those of the process are empty when its first thread has exited."""
    try:
        return kernel_text.read(f"/proc/thread-self/{name}")
    except OSError:
        return b""
