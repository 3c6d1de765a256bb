"""A ring buffer of perf events of a processor; it is read once, at the end, so it never turns round."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.events import perf_open
from pte_magic.walkers import replaceable_mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLES = perf_open.IP | perf_open.TID | perf_open.TIME | perf_open.ADDR
"""The contents of the records."""
_SAMPLE = np.dtype(
    [
        ("type", np.uint32),  # struct perf_event_header
        ("misc", np.uint16),
        ("size", np.uint16),
        ("ip", np.uint64),
        ("pid", np.uint32),
        ("tid", np.uint32),
        ("time", np.uint64),
        ("address", np.uint64),
    ]
)
SAMPLE_BYTES = _SAMPLE.itemsize
_OF_FAULT = 9  # PERF_RECORD_SAMPLE
IN_USER_MODE = 2
"""``misc & 7`` of a sample in user mode: PERF_RECORD_MISC_USER."""
_HEAD, _HEAD_AT = struct.Struct("=Q"), 1024  # data_head of struct perf_event_mmap_page


Key = tuple[int, bool]
"""A processor, and whether the ring is for major faults."""


class Ring:
    """Memory that the kernel writes records to.

    Attributes:
        fd: The event that it belongs to; others of the same processor may write to it, too.
        size: Its bytes.

    """

    def __init__(self, fd: int, pages: int) -> None:
        """Make one of so many pages, a power of two.

        Raises:
            PermissionError: It is beyond kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK.
            OSError: There is no memory.

        """
        self.fd = fd
        self.size = pages * mmap.PAGESIZE
        self._memory = replaceable_mapping.shared(fd, mmap.PAGESIZE + self.size)

    def samples(self) -> NDArray[np.void]:
        """Return a copy of what was written, with the fields of ``_SAMPLE``; the events are disabled by now."""
        used = _HEAD.unpack_from(self._memory, _HEAD_AT)[0]
        data = self._memory[mmap.PAGESIZE : mmap.PAGESIZE + used]
        found = np.frombuffer(data, _SAMPLE, used // _SAMPLE.itemsize)
        if (found["size"] == _SAMPLE.itemsize).all():
            return np.asarray(found[found["type"] == _OF_FAULT])
        return np.frombuffer(b"".join(_one_by_one(data)), _SAMPLE)

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()

    def abandon(self) -> None:
        """Put other memory in its place, in a forked child: the kernel gives it no copy."""
        replaceable_mapping.leave(self._memory)


def _one_by_one(data: bytes) -> list[bytes]:
    """Return the samples among records of other kinds, such as PERF_RECORD_THROTTLE."""
    found, at = [], 0
    while at + 8 <= len(data):
        kind, _, size = struct.unpack_from("=IHH", data, at)
        if not size:
            break
        if kind == _OF_FAULT:
            found.append(data[at : at + size])
        at += size
    return found


def made(fds: dict[Key, int], size: int) -> dict[Key, Ring]:
    """Return a ring for each key, on the event whose descriptor is given; all are as large as this user may have.

    Args:
        fds: The descriptors by key.
        size: The bytes of each ring, at most.

    Raises:
        OSError: This user may have none, or there is no memory.

    """
    pages = 1 << max(size // mmap.PAGESIZE, 1).bit_length() - 1
    while True:
        rings: dict[Key, Ring] = {}
        try:
            for key, fd in fds.items():
                rings[key] = Ring(fd, pages)
        except OSError:
            for ring in rings.values():
                ring.close()
            if pages == 1:
                raise
            pages //= 2
        except BaseException:
            for ring in rings.values():
                ring.close()
            raise
        else:
            return rings
