"""Memory with limited access: mprotect(2), and protection keys (pkeys(7))."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, Self

from pte_magic.errors import WorkloadError, arguments
from pte_magic.linux import libc
from pte_magic.linux.address_space import own
from pte_magic.workloads.whole_pages import Range, whole_pages

if TYPE_CHECKING:
    import numpy as np

_BITS = {"r": mmap.PROT_READ, "w": mmap.PROT_WRITE, "x": mmap.PROT_EXEC}
_DISABLE = {"": 1, "r": 2, "rw": 0}  # PKEY_DISABLE_ACCESS, PKEY_DISABLE_WRITE of asm-generic/mman-common.h


class Protection:
    """The allowed access to memory, from now on; as a context manager, until the end of the block.

    Made by `protect`. It holds the array, so that the same memory is restored in the end.
    """

    def __init__(self, array: np.ndarray[Any, Any], access: str) -> None:
        where, bits = whole_pages(array), _protection(access)
        self._array, self._before = array, _pieces(where)
        libc.call("mprotect", *where, bits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for piece, bits in self._before:
            libc.call("mprotect", *piece, bits)


def protect(array: np.ndarray[Any, Any], access: str) -> Protection:
    """Set the allowed access to the memory of an array: mprotect(2).

    >>> with protect(a, "r"):
    ...     x = a[0, 0]  # as before; a write would end the process with SIGSEGV, so let a forked child try it

    Without ``with`` it lasts until the next call.

    Args:
        array: Whole pages, such as a `private_mapping` or rows of it.
        access: The allowed access: ``"r"``, ``"rw"``, ``"rx"``, ``"rwx"``, or ``""`` for none (PROT_NONE).

    Raises:
        WorkloadError: There is no such access, or the array does not consist of whole pages.
        OSError: The kernel refuses, such as writing to a mapping of a read-only file.

    """
    return Protection(array, access)


def _protection(access: str) -> int:
    access = arguments.plain(access)
    if type(access) is not str or set(access) - set(_BITS):
        message = f'access {arguments.shown(access)} does not exist; type "r", "rw", "rx", "rwx" or "" for none'
        raise WorkloadError(message)
    return sum(_BITS[letter] for letter in set(access))


class ProtectionKey:
    """A protection key on the memory of an array; made by `protection_key`. A context manager, or `close` it.

    Attributes:
        number: The key, as in the entries' ``pkey``; 1 to 15.

    """

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array, self._pieces = array, _pieces(whole_pages(array))
        try:
            self.number = libc.call("pkey_alloc", 0, 0)
        except OSError as error:
            message = f"this CPU or kernel gives no protection key: {error.strerror}; see 'pku' in /proc/cpuinfo"
            raise WorkloadError(message) from error
        self._put(self.number)

    def allow(self, access: str) -> None:
        """Set the access of this thread: ``"rw"``, ``"r"`` or ``""``. This changes a register of the CPU (PKRU).

        Raises:
            WorkloadError: There is no such access.

        """
        access = arguments.plain(access)
        if type(access) is not str or access not in _DISABLE:
            message = (
                f'access {arguments.shown(access)} is not possible with a protection key; type "rw", "r" or "" for none'
            )
            raise WorkloadError(message)
        libc.call("pkey_set", self.number, _DISABLE[access])

    def close(self) -> None:
        """Free the key; the memory is as before. A second call does nothing."""
        if self.number:
            self.allow("rw")
            self._put(0)
            libc.call("pkey_free", self.number)
            self.number = 0

    def _put(self, number: int) -> None:
        for piece, bits in self._pieces:
            libc.call("pkey_mprotect", *piece, bits, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def protection_key(array: np.ndarray[Any, Any]) -> ProtectionKey:
    """Put a protection key on the memory of an array: pkeys(7). At first, all access is allowed.

    Args:
        array: Whole pages, such as a `private_mapping`.

    Raises:
        WorkloadError: This CPU has no protection keys, none is free, or the array does not consist of whole pages.

    """
    return ProtectionKey(array)


def _pieces(where: Range) -> list[tuple[Range, int]]:
    """Return the allowed access to each part of a range now (the bits of mprotect)."""
    found = []
    for region in own().regions():
        start, end = max(region.start, where.start), min(region.end, where.end)
        if start < end:
            found.append((Range(start, end - start), _protection(region.permissions[:3].replace("-", ""))))
    return found
