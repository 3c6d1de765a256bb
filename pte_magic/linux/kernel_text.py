"""Text of the kernel: /proc, /sys, uname(2). Read as bytes, cut at line feeds, and decoded only here.

The name of a process, a file, a cgroup or a host is bytes, any but the zero byte, and often not UTF-8: a process' name
is cut after 15 bytes, even within a letter. So text is split before it is decoded, and never by ``str.splitlines``,
which splits at ten characters. Comparisons use the bytes. Output and columns of frames use the result of `shown`:
printable text, which any terminal, Parquet, CSV and JSON take.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from pte_magic.errors import NoProcError
from pte_magic.errors.escapes import visible
from pte_magic.linux import descriptors
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from pathlib import Path

MOST_PIDS = 1 << 22
"""No pid is larger: PID_MAX_LIMIT, include/linux/threads.h."""
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


class Enough(Protocol):
    """The end of what is read of a file: called with each piece of it, it tells whether that is all.

    Attributes:
        piece: The bytes of a piece; where there is room for more, the kernel makes more (seq_read_iter(),
            fs/seq_file.c).

    """

    piece: int

    def __call__(self, piece: bytes, /) -> bool:
        """Take the next piece; tell whether that is all."""


def read(path: str | Path, *, directory: int | None = None, enough: Enough | None = None) -> bytes:
    """Return all of a file, or its beginning.

    Args:
        path: Its path.
        directory: An open directory, the base of the path.
        enough: Called with each piece that was read; at true, the rest is not read, so the kernel does not make it.

    Raises:
        OSError: As of open(2) and read(2).

    """
    with deferred():  # or a descriptor would be open that nobody knows of
        opened = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), "rb", buffering=0)
    with opened as file:
        if enough is None:
            return file.read()
        found = bytearray()
        while piece := file.read(enough.piece):
            found += piece
            if enough(piece):
                break
        return bytes(found)


def text(path: str | Path) -> str:
    """Return a file without names given by users, as text of several lines; raises as `read`."""
    return read(path).decode(errors="backslashreplace")


def lines(raw: bytes) -> list[bytes]:
    """Return the lines of a file of the kernel, split only at line feeds, and without these."""
    return raw.removesuffix(b"\n").split(b"\n") if raw else []


def fields(raw: bytes) -> dict[str, bytes]:
    """Return the values of lines as in /proc/PID/status and /proc/meminfo, ``Name:<blank>value``, by their names."""
    found = (line.partition(b":") for line in lines(raw))
    return {shown(name): value.strip(b" \t") if name != b"Name" else value[1:] for name, _, value in found}


def shown(raw: bytes) -> str:
    """Return bytes as printable text on one line: UTF-8, with escapes for other bytes and invisible characters."""
    return visible(raw.decode(errors="backslashreplace"))


def exact(typed: str) -> bytes:
    """Return the bytes of a name that a user typed, or that Python's functions for files returned."""
    try:
        return os.fsencode(typed)
    except UnicodeEncodeError:  # half of a UTF-16 pair: no name has that
        return typed.encode(errors="backslashreplace")


def unescaped(raw: bytes) -> bytes:
    r"""Return a path without the kernel's own escapes, such as ``\012`` (``mangle_path()``, fs/seq_file.c)."""
    return _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), raw)


def host() -> bytes:
    """Return the name of this host.

    Not cached, as in `platform.node`: a process may enter another UTS namespace, with another name (setns(2)).
    """
    return exact(os.uname().nodename)


def pids() -> list[int]:
    """Return the processes that /proc has, ascending, in its pid namespace.

    Raises:
        NoProcError: There is no /proc.
        ResourceError: No descriptor is free.

    """
    try:
        names = os.listdir("/proc")  # noqa: PTH208  (names only)
    except OSError as error:
        if descriptors.missing(error):
            raise descriptors.none_free() from error
        names = []
    found = sorted(int(name) for name in names if name.isascii() and name.isdecimal())
    if not found:
        raise NoProcError(os.getpid())
    return found


def threads(directory: int) -> list[int]:
    """Return the threads of the process whose directory in /proc is open, ascending; none if it has gone."""
    with deferred(), suppress(OSError):
        task = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            return sorted(map(int, os.listdir(task)))  # noqa: PTH208  (a descriptor)
        finally:
            os.close(task)
    return []
