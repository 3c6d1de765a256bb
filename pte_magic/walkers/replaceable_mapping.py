"""Memory that the kernel or the helper writes, mapped so that a forked child can put other memory in its place."""

from __future__ import annotations

import mmap

import numpy as np

from pte_magic.linux import libc

_MAP_FIXED = 0x10  # asm-generic/mman-common.h, and of all architectures here


def shared(fd: int, size: int) -> mmap.mmap:
    """Return the first `size` bytes of a file, mapped. Python's own mapping would keep a descriptor of the file.

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
    """Replace the mapping by zeros of this process' own, while views of it may exist; for a forked child.

    The Python frames of the parent's other threads stay in the child, and keep their objects for ever. So deleting the
    mapping is not enough, and unmapping it would kill the child at the next access.
    """
    _put(memory, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)


def _put(memory: mmap.mmap, flags: int, fd: int) -> None:
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    at = np.frombuffer(memory, np.uint8).ctypes.data
    libc.mmap(at, len(memory), protection, flags | _MAP_FIXED, fd)
