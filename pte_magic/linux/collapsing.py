"""MADV_COLLAPSE, which makes a huge page of small pages at once: in this process, or another."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from pte_magic.linux import libc, system_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MADV_COLLAPSE = 25  # asm-generic/mman-common.h, since 6.1 (7d8faaf15545)


class _Vector(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def collapse(pid: int | None, places: Iterable[int], size: int) -> dict[int, int]:
    """Ask for a huge page at each place; return the number of the error of each that did not become one.

    Args:
        pid: The process; None for this one. Another one's needs its rights, and CAP_SYS_NICE: process_madvise(2).
        places: Their first addresses.
        size: Bytes of a huge page.

    Raises:
        OSError: The process has gone, or there is no pidfd_open(2).

    """
    if pid is None:
        return _errors(places, lambda place: libc.call("madvise", place, size, _MADV_COLLAPSE))
    process = os.pidfd_open(pid)
    try:
        return _errors(places, lambda place: _in_other(process, place, size))
    finally:
        os.close(process)


def _errors(places: Iterable[int], ask: Callable[[int], object]) -> dict[int, int]:
    found: dict[int, int] = {}
    for place in places:
        try:
            ask(place)
        except OSError as error:
            found[place] = error.errno or 0
    return found


def _in_other(process: int, place: int, size: int) -> None:
    vector = _Vector(place, size)
    system_calls.call("process_madvise", process, ctypes.addressof(vector), 1, _MADV_COLLAPSE, 0)
