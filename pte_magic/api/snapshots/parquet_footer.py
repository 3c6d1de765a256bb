"""The footer of a Parquet file, and a checksum that shows damage before pyarrow parses it.

A parser of a damaged footer may do anything: pyarrow 26 ends the process on some (``std::terminate``). So since version
3 of the layout, the file has these bytes after the ``PAR1`` at its beginning. Readers of Parquet never look there, as
they find each page by its offset:

======  =====  ================================================================================
offset  bytes
======  =====  ================================================================================
4       4      ``PTEc``
8       4      CRC-32 of the footer and of the eight bytes after it, little-endian
======  =====  ================================================================================

A file of an older version has a page there. For those files, pyarrow 26 raises an error in all calls of `reading`,
whichever bit of the footer was flipped; a flipped bit of an entry is not noticed.
"""

from __future__ import annotations

import os
import zlib
from typing import IO, Any

from pte_magic.api.snapshots.checks import must

_MAGIC = b"PAR1"  # at both ends, https://parquet.apache.org/docs/file-format/
_MARK = b"PTEc"
_PLACE = len(_MAGIC)
_TAIL = 4 + len(_MAGIC)  # the length of the footer, and the magic again
_PIECE = 1 << 20


def reserve(file: Any) -> None:
    """Reserve space for the checksum in a new file of pyarrow that a Parquet writer has begun."""
    must(file.tell() == _PLACE, "a Parquet writer begins with other bytes")
    file.write(_MARK + bytes(4))


def seal(file: IO[bytes]) -> None:
    """Write the checksum to a file that is complete."""
    found = _checksum(file)
    file.seek(_PLACE + len(_MARK))
    file.write(found.to_bytes(4, "little"))


def sealed(file: IO[bytes]) -> bool:
    """Return whether a file has a checksum, and check it.

    Raises:
        ValueError: The footer is not what was written.

    """
    file.seek(0)
    begin = file.read(_PLACE + len(_MARK) + 4)
    if begin[_PLACE : _PLACE + len(_MARK)] != _MARK:
        return False
    must(int.from_bytes(begin[-4:], "little") == _checksum(file), "its footer is not what was written")
    return True


def _checksum(file: IO[bytes]) -> int:
    size = file.seek(0, os.SEEK_END)
    must(size >= _PLACE + _TAIL, "it has no footer")
    file.seek(-_TAIL, os.SEEK_END)
    tail = file.read(_TAIL)
    left = int.from_bytes(tail[:4], "little")
    must(tail[4:] == _MAGIC and left <= size - _PLACE - _TAIL, "it has no footer")
    file.seek(-_TAIL - left, os.SEEK_END)
    found = 0
    while left:
        piece = file.read(min(left, _PIECE))
        must(piece, "it has no footer")
        found, left = zlib.crc32(piece, found), left - len(piece)
    return zlib.crc32(tail, found)
