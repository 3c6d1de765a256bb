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
from pte_magic.errors.cut import cut
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

KEY = b"pte_magic_groups"
"""The name of the row groups in the metadata of a file, since version 3 of the layout."""
MOST = 1 << 20
"""The most entries, and rows, of a row group: it is one piece of a walk, which has about a tenth of that."""
_MOST_BYTES = 64 * MOST
_TOP = 1 << 57  # no user address is higher
_LONGEST = 200  # characters of what pyarrow says


class Group(NamedTuple):
    """The facts about a row group, written after all row groups."""

    first: int
    """The first address that it covers."""
    end: int
    """The first address after it."""
    rows: int
    crc: int
    """Of its columns, `checksum`."""


@contextmanager
def readable(path: Path) -> Iterator[Any]:
    """Open a regular file for reading, and close it; opening a pipe would wait for ever.

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
    """Turn every error into the one that says that the file is damaged: pyarrow and numpy raise many kinds.

    Raises:
        TargetError: Something went wrong.

    """
    try:
        yield
    except PteMagicError:
        raise
    except Exception as error:  # pyarrow, numpy and json raise many kinds
        said = " ".join(str(error).split()) or type(error).__name__
        message = f"{path} is damaged: {cut(said, _LONGEST)}"
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
    """Return the row groups that the metadata describe."""
    groups = [Group(*group) for group in json.loads(metadata[KEY])]
    must(
        all(isinstance(number, int) for group in groups for number in group), "a row group is not described by numbers"
    )
    return groups


def bounded(group: Any) -> None:
    """Check the size of a row group that a file states, before memory is allocated for it.

    The size of columns is not asked for: where it is damaged, pyarrow raises an error when it reads them, but ends the
    process when it is asked.
    """
    must(group.num_rows <= MOST, f"a row group has {group.num_rows:,} rows")
    size = group.total_byte_size
    must(0 <= size <= _MOST_BYTES, f"a row group has {size:,} bytes")


def consistent(vaddr: NDArray[np.uint64], size: NDArray[np.uint64], count: NDArray[np.uint32], page: int) -> None:
    """Check that rows ascend, do not overlap, and hold entries of whole pages, not too many."""
    must(len(count) and count.all(), "a row has no entries")
    must(int(count.sum(dtype=np.uint64)) <= MOST, "its rows have too many entries")
    each, rest = np.divmod(size, count.astype(np.uint64))
    must(not rest.any() and each.all() and not (each % page).any(), "entries of a row are not whole pages")
    must(size.max() <= _TOP and vaddr.max() < _TOP, "a row lies above all addresses")
    must(not (vaddr % page).any(), "a row does not begin at a page")
    must((vaddr[1:] >= vaddr[:-1] + size[:-1]).all(), "its rows overlap")
