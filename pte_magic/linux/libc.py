"""Functions of the C library that Python does not have; their arguments are integers, also for addresses."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_library = ctypes.CDLL(None, use_errno=True)
# Both are looked up now: in a forked child, another thread of the parent may have the loader's lock for ever.
_mmap, _prctl = _library.mmap, _library.prctl
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_FAILED = ctypes.c_void_p(-1).value


def call(name: str, *arguments: int) -> int:
    """Call a function; return what it returned.

    Raises:
        OSError: It returned -1.

    """
    return _checked(_library[name](*map(ctypes.c_long, arguments)))


def prctl(option: int, argument: int = 0) -> int:
    """Have the kernel change something about this process or thread, of linux/prctl.h.

    Raises:
        OSError: It returned -1.

    """
    return _checked(_prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))))


def mmap(  # noqa: PLR0913, PLR0917  (as the function has them)
    address: int, size: int, protection: int, flags: int, fd: int = -1, offset: int = 0
) -> int:
    """Map memory, or a part of a file from an offset on; return where it is.

    Raises:
        OSError: Nothing was mapped.

    """
    place: int | None = _mmap(address, size, protection, flags, fd, offset)
    if place is None or place == _FAILED:
        _checked(-1)
    return place or 0


def getauxval(kind: int) -> int:
    """Return a word of the auxiliary vector, of a kind of elf.h; 0 if there is none."""
    function = _library["getauxval"]
    function.restype = ctypes.c_ulong
    found: int = function(ctypes.c_ulong(kind))
    return found


def function(name: str) -> Any:
    """Return a function that not every C library has; None if this one does not."""
    try:
        return _library[name]
    except AttributeError:
        return None


def _checked(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
