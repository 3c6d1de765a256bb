"""`Region`, a line of /proc/PID/maps: its fields, its page size in smaps, and whether its file was deleted."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pte_magic.linux import kernel_text

_ADDRESSES = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ")
_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ (\S+) (\d+) *(.*)")
_DELETED = b" (deleted)"  # d_path(), fs/d_path.c
_LINE_FEED = rb"\012"  # what a line feed is in maps, and how a name may be written as well


@dataclass(frozen=True, slots=True)
class Region:
    """One line of ``/proc/PID/maps``: a virtual memory area.

    Attributes:
        start: First address.
        end: First address after it.
        permissions: Four characters, such as ``rw-p``.
        name: Path, ``[heap]``, ``[stack]``, … or the empty string, as printable text: see `kernel_text.shown`.
        path: The same as the kernel's bytes. For a file without a name it ends with `` (deleted)``.
        file: Device and inode of the mapped file; inode 0 without a file.

    """

    start: int
    end: int
    permissions: str
    name: str
    path: bytes = b""
    file: tuple[bytes, int] = (b"", 0)

    @property
    def linked(self) -> bytes:
        """The last path of a file that has no name any more; else its path."""
        return self.path.removesuffix(_DELETED)

    @property
    def is_anonymous(self) -> bool:
        """True if it has anonymous memory only: no file, and nothing of the kernel's own such as ``[vdso]``."""
        return not self.file[1] and (self.path in {b"", b"[heap]", b"[stack]"} or self.path.startswith(b"[anon:"))


class Until:
    """The end of what is read of maps: the first region that begins at an address or above it."""

    piece = 4096  # some tens of lines, which take the kernel as long as a system call

    def __init__(self, end: int) -> None:
        self._end, self._rest = end, b""

    def __call__(self, piece: bytes) -> bool:
        """Add the next piece of the text; tell whether that is all."""
        whole, _, self._rest = (self._rest + piece).rpartition(b"\n")
        last = _ADDRESSES.match(whole, whole.rfind(b"\n") + 1)
        return last is not None and int(last[1], 16) >= self._end


def of_maps(text: bytes, directory: int, within: tuple[int, int] | None = None) -> list[Region]:
    """Return the regions in the text of a maps file, ascending.

    Args:
        text: The text.
        directory: The open /proc/PID.
        within: Only regions that have addresses in this range: its first address, and the first one after it.

    """
    lines = kernel_text.lines(text)
    if within is not None:
        lines = [line for line in lines if _has_some(line, *within)]
    found = map(_LINE.fullmatch, lines)
    return [_region(line, directory) for line in found if line]


def _has_some(line: bytes, first: int, end: int) -> bool:
    addresses = _ADDRESSES.match(line)
    return addresses is not None and int(addresses[1], 16) < end and int(addresses[2], 16) > first


def _region(line: re.Match[bytes], directory: int) -> Region:
    start, end = int(line[1], 16), int(line[2], 16)
    path = _path(line, directory) if _LINE_FEED in line[6] else line[6]
    return Region(start, end, line[3].decode(), kernel_text.shown(path), path, (line[4], int(line[5])))


def _path(line: re.Match[bytes], directory: int) -> bytes:
    """Return a path with a line feed or its escape, which maps writes in the same way."""
    try:
        return os.readlink(b"map_files/%x-%x" % (int(line[1], 16), int(line[2], 16)), dir_fd=directory)
    except OSError:  # just unmapped, or not ours to see
        return kernel_text.unescaped(line[6])


def page_sizes(smaps: bytes) -> dict[int, int]:
    """Return the page size of each region in the text of an smaps file (``KernelPageSize``), by its first address."""
    sizes: dict[int, int] = {}
    start = 0
    for line in kernel_text.lines(smaps):
        if m := _LINE.fullmatch(line):
            start = int(m[1], 16)
        elif line.startswith(b"KernelPageSize:"):
            sizes[start] = int(line.split()[1]) << 10
    return sizes


def is_deleted(region: Region, directory: int, root: str) -> bool:
    """Tell whether a mapped file has no name any more: memfds and shared memory never have one.

    The kernel writes `` (deleted)`` at the end of the path, but the name of a file may end so, too. If a file of that
    name exists, and has the inode of the mapped one, then it is its name. Devices are not compared, as they differ on
    btrfs and overlayfs; another file with that name and the same inode is very unlikely.

    Args:
        region: Where the file is mapped.
        directory: The open /proc/PID.
        root: The path in it of the root directory of the process' own mount namespace.

    """
    if region.path == region.linked or not region.path.startswith(b"/"):
        return False
    for place in (b"", root.encode()):  # here, and in that mount namespace
        try:
            if os.stat(place + region.path, dir_fd=directory).st_ino == region.file[1]:
                return False
        except OSError:
            continue
    return True
