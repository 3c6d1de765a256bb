"""Checks of a snapshot's file: everything in it is checked before it is used.

A file may be damaged, or come from somebody else. Its content must not decide how much memory or time reading takes,
and a changed bit must not give other entries without an error.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.errors import PteMagicError, TargetError
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

KEY = b"pte_magic_groups"
"""Under which name the row groups are told in the metadata of a file, since version 3 of the layout."""
MOST = 1 << 20
"""Entries, and rows, of a row group: it is one piece of a walk, which has about a tenth of that."""
_MOST_BYTES = 64 * MOST
_TOP = 1 << 57  # no user address is higher
_LONGEST = 200  # characters of what pyarrow says


class Group(NamedTuple):
    """What a row group has, written after all of them."""

    first: int
    """The first address that it covers."""
    end: int
    """The first address after it."""
    rows: int
    crc: int
    """Of its columns, `checksum`."""


@contextmanager
def readable(path: Path) -> Iterator[Any]:
    """Open a regular file for reading, and close it; a pipe would keep whoever opens it waiting.

    Raises:
        TargetError: It is not a regular file, or cannot be opened.

    """
    try:
        with deferred():  # or a descriptor would be open that nobody knows of
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                message = f"{path} is not a regular file, so it is not one of a snapshot"
                raise TargetError(message)
            opened = os.fdopen(descriptor, "rb")
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise TargetError(message) from error
    with opened as file:
        yield file


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say of whatever goes wrong that the file is damaged: pyarrow raises many things, and numpy others.

    Raises:
        TargetError: Something went wrong.

    """
    try:
        yield
    except PteMagicError:
        raise
    except Exception as error:  # pyarrow, numpy and json raise many kinds
        said = " ".join(str(error).split()) or type(error).__name__
        message = f"{path} is damaged: {said[:_LONGEST]}"
        raise TargetError(message) from error


def must(holds: object, what: str) -> None:
    """Raise unless something holds.

    Raises:
        ValueError: It does not; `explained` makes one line of it.

    """
    if not holds:
        raise ValueError(what)


def checksum(columns: Sequence[NDArray[Any]]) -> int:
    """Return the CRC-32 of the bytes of several arrays, one after the other."""
    found = 0
    for column in columns:
        whole: Any = np.ascontiguousarray(column)  # a buffer, which the stubs do not know
        found = zlib.crc32(whole, found)
    return found


def packed(groups: Sequence[Group]) -> dict[bytes, bytes]:
    """Return row groups as metadata."""
    return {KEY: json.dumps([list(group) for group in groups]).encode()}


def unpacked(metadata: dict[bytes, bytes]) -> list[Group]:
    """Return the row groups that metadata tell of."""
    groups = [Group(*group) for group in json.loads(metadata[KEY])]
    must(all(isinstance(number, int) for group in groups for number in group), "a row group is not told in numbers")
    return groups


def bounded(group: Any) -> None:
    """Check what a file says of the size of a row group, before memory is taken for it.

    What it says of columns is not asked for: where that is damaged, pyarrow raises if it reads them, but ends the
    process if it is asked.
    """
    must(group.num_rows <= MOST, f"a row group has {group.num_rows:,} rows")
    size = group.total_byte_size
    must(0 <= size <= _MOST_BYTES, f"a row group has {size:,} bytes")


def consistent(vaddr: NDArray[np.uint64], size: NDArray[np.uint64], count: NDArray[np.uint32], page: int) -> None:
    """Check that rows ascend, do not overlap, and stand for entries of whole pages, not too many."""
    must(len(count) and count.all(), "a row stands for no entry")
    must(int(count.sum(dtype=np.uint64)) <= MOST, "its rows stand for too many entries")
    each, rest = np.divmod(size, count.astype(np.uint64))
    must(not rest.any() and each.all() and not (each % page).any(), "entries of a row are not whole pages")
    must(size.max() <= _TOP and vaddr.max() < _TOP, "a row lies above all addresses")
    must(not (vaddr % page).any(), "a row does not begin at a page")
    must((vaddr[1:] >= vaddr[:-1] + size[:-1]).all(), "its rows overlap")
