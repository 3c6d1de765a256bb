"""Memory that the kernel or the helper writes, mapped where a forked child can put other memory in its place."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np

_MAP_FIXED = 0x10  # asm-generic/mman-common.h, and of all architectures here
_FAILED = ctypes.c_void_p(-1).value
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
]  # fmt: skip


def shared(fd: int, size: int) -> mmap.mmap:
    """Return the first `size` bytes of a file, mapped. Python's own mapping of it would keep a descriptor of the file.

    Raises:
        OSError: It cannot be mapped.

    """
    made = mmap.mmap(-1, size)
    try:
        _put(made, mmap.MAP_SHARED, fd)
    except BaseException:
        made.close()
        raise
    return made


def leave(memory: mmap.mmap) -> None:
    """Have zeros of this process' own there instead, whoever still looks at them: a forked child does so.

    The frames of the parent's other threads stay in the child as they were, and hold what they held for ever. So it is
    not enough to let go of the mapping, and to take it away would kill who looks there next.
    """
    _put(memory, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)


def _put(memory: mmap.mmap, flags: int, fd: int) -> None:
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    at = np.frombuffer(memory, np.uint8).ctypes.data
    if _libc.mmap(at, len(memory), protection, flags | _MAP_FIXED, fd, 0) == _FAILED:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
