"""Mounted file systems, of /proc/PID/mountinfo."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pte_magic.linux import kernel_text

if TYPE_CHECKING:
    from collections.abc import Sequence


class Mount(NamedTuple):
    """A mounted file system.

    Attributes:
        device: Major and minor number of its device.
        root: The directory of the file system that is mounted.
        point: Where it is mounted.
        kind: Its type, such as ``tmpfs``.
        options: Those of the file system, such as ``huge=always``.

    """

    device: tuple[int, int]
    root: bytes
    point: bytes
    kind: bytes
    options: tuple[bytes, ...]


def of_mountinfo(text: bytes) -> list[Mount]:
    r"""Return the mounts in the text of a mountinfo file. Fields are cut at blanks, which are ``\040`` in paths."""
    found = []
    for line in kernel_text.lines(text):
        fields = line.split(b" ")  # show_mountinfo(), fs/proc_namespace.c
        kind, _, options = fields[fields.index(b"-") + 1 :][:3]
        major, _, minor = fields[2].partition(b":")
        root, point = map(kernel_text.unescaped, fields[3:5])
        found.append(Mount((int(major), int(minor)), root, point, kind, tuple(options.split(b","))))
    return found


def of_file(mounts: Sequence[Mount], device: bytes, path: bytes) -> Mount | None:
    """Return the mount that a mapped file is on; None for a mount of the kernel's own, such as that of memfds.

    Args:
        mounts: The mounts of the process.
        device: Major and minor number in hex, as maps has them. On btrfs and overlayfs these are of no mount.
        path: The path in maps.

    """
    major, _, minor = device.partition(b":")
    numbers = int(major, 16), int(minor, 16)
    same = [mount for mount in mounts if mount.device == numbers]
    around = [mount for mount in same or mounts if (path + b"/").startswith(mount.point.rstrip(b"/") + b"/")]
    if same:
        return max(around or same, key=lambda mount: len(mount.point))
    if numbers[0] == 0 and path.startswith((b"/memfd:", b"/SYSV", b"/dev/zero (deleted)", b"[anon_shmem:")):
        return None
    return max(around, key=lambda mount: len(mount.point), default=None)
