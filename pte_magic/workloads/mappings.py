"""Arrays whose memory is a mapping of its own: private, shared, of a file, of huge pages."""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.errors import WorkloadError, arguments
from pte_magic.linux import sizes, system_calls
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

HUGE_SIZE = sizes.huge()
"""Bytes of a huge page: an entry one level above the lowest maps it, 2 MiB with pages of 4 KiB in 64-bit kernels."""

_MAP_HUGETLB, _MAP_HUGE_SHIFT = 0x40000, 26  # asm-generic/mman.h, asm-generic/hugetlb_encode.h
_MPOL_LOCAL = 4  # linux/mempolicy.h
_ADVICE = {
    "hugepage": mmap.MADV_HUGEPAGE,
    "nohugepage": mmap.MADV_NOHUGEPAGE,
    "normal": mmap.MADV_NORMAL,  # what transparent_hugepage/enabled says
}


def private_mapping(pages: int) -> NDArray[np.uint8]:
    """Map private anonymous memory, with no page touched yet.

    Args:
        pages: The number of pages of the smallest size (`mmap.PAGESIZE`, mostly 4 KiB); none of them ever becomes
            part of a larger one.

    Returns:
        ``uint8[pages, PAGE_SIZE]``, all zeros.

    Raises:
        WorkloadError: So many pages cannot be mapped.

    """
    return _small_pages(_anonymous(_counted(pages) * PAGE_SIZE, mmap.MAP_PRIVATE))


def shared_mapping(pages: int) -> NDArray[np.uint8]:
    """Map anonymous memory that this process shares with its forked children; otherwise like `private_mapping`."""
    return _small_pages(_anonymous(_counted(pages) * PAGE_SIZE, mmap.MAP_SHARED))


def file_mapping(file: str | os.PathLike[str] | int, *, shared: bool = True) -> NDArray[np.uint8]:
    """Map a whole file.

    If the file is truncated, using a page after its new end ends the process (SIGBUS), as with any mmap(2).

    Args:
        file: A path, or an open descriptor such as that of a memfd, which may be closed afterwards. Its size has to be
            a multiple of the page size.
        shared: True if writes go to the file (MAP_SHARED), False if they are private (MAP_PRIVATE).

    Returns:
        ``uint8[pages, PAGE_SIZE]``, the content of the file.

    Raises:
        WorkloadError: It is neither, or it cannot be opened or mapped, with `shared` also for writing; or the file is
            empty or ends within a page.

    """
    shared = arguments.flag(shared, "shared", "type shared=False for a private mapping", error=WorkloadError)
    fd = arguments.index(file)
    path = "" if fd is not None else arguments.path(file, "file", error=WorkloadError)
    try:
        if fd is not None:
            return _of_descriptor(fd, shared=shared)
        with Path(path).open("r+b" if shared else "rb") as opened:
            return _of_descriptor(opened.fileno(), shared=shared)
    except (OSError, OverflowError) as error:  # of a number that no descriptor can have
        why = error.strerror if isinstance(error, OSError) else os.strerror(errno.EBADF)
        what = arguments.shown(path) if fd is None else f"descriptor {arguments.shown(fd)}"
        message = f"{what} cannot be mapped: {why}; type the path of a file that may be read{' and written' * shared}"
        raise WorkloadError(message) from error


def _of_descriptor(fd: int, *, shared: bool) -> NDArray[np.uint8]:
    size = os.fstat(fd).st_size
    if size == 0 or size % PAGE_SIZE:
        message = (
            f"the file has {size} bytes; make it a multiple of {PAGE_SIZE}, such as by os.truncate(file, {PAGE_SIZE})"
        )
        raise WorkloadError(message)
    return _small_pages(mmap.mmap(fd, size, mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE))


def huge_array(n: int, advice: str = "hugepage") -> NDArray[np.uint8]:
    """Map private anonymous memory as transparent huge pages (THP) can use it: aligned to their size.

    Args:
        n: The number of huge pages of `HUGE_SIZE`.
        advice: The advice for madvise(2): ``"hugepage"``, ``"nohugepage"``, or ``"normal"`` for none. The kernel may
            still use small pages: walk the array to see.

    Returns:
        ``uint8[n, HUGE_SIZE]``, untouched.

    Raises:
        WorkloadError: There is no such advice, or not enough memory.

    """
    advice = arguments.plain(advice)
    if type(advice) is not str or advice not in _ADVICE:
        message = f"advice {arguments.shown(advice)} does not exist; type one of {', '.join(map(repr, _ADVICE))}"
        raise WorkloadError(message)
    size = _counted(n) * HUGE_SIZE
    room = _anonymous(size + HUGE_SIZE, mmap.MAP_PRIVATE)
    room.madvise(_ADVICE[advice])
    around = _bytes(room)
    start = -around.ctypes.data % HUGE_SIZE
    return around[start : start + size].reshape(-1, HUGE_SIZE)


def hugetlb_array(n: int) -> NDArray[np.uint8]:
    """Map private huge pages of `HUGE_SIZE` from the pool that the administrator has set aside (hugetlb).

    Args:
        n: The number of huge pages.

    Returns:
        ``uint8[n, HUGE_SIZE]``, untouched; the pages are reserved already.

    Raises:
        WorkloadError: The pool does not have so many.

    """
    size = _counted(n) * HUGE_SIZE
    of_that_size = HUGE_SIZE.bit_length() - 1 << _MAP_HUGE_SHIFT
    try:
        memory = _mapped(size, mmap.MAP_PRIVATE | _MAP_HUGETLB | of_that_size)
    except OSError as error:
        message = f"{n} pages of hugetlb cannot be mapped: {error.strerror}; as root: sysctl vm.nr_hugepages={n}"
        raise WorkloadError(message) from error
    return _rows(memory, HUGE_SIZE)


def _anonymous(size: int, flags: int) -> mmap.mmap:
    try:
        return _mapped(size, flags)
    except OSError as error:
        message = f"{size} bytes cannot be mapped: {error.strerror}; type a smaller number"
        raise WorkloadError(message) from error


def _mapped(size: int, flags: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, size, flags | mmap.MAP_ANONYMOUS)
    except OverflowError:  # more than 31 bits, of a 32-bit Python
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None


def _small_pages(memory: mmap.mmap) -> NDArray[np.uint8]:
    with suppress(OSError):  # EINVAL: a kernel without huge pages
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return _rows(memory, PAGE_SIZE)


def _counted(pages: int) -> int:
    number = arguments.index(pages)
    if number is None or not 0 < number < 1 << 40:
        message = f"{arguments.shown(pages)} pages cannot be mapped; type a whole number from 1 on"
        raise WorkloadError(message)
    return number


def _rows(memory: mmap.mmap, page_size: int) -> NDArray[np.uint8]:
    """Return a mapping as an array, one row per page. The array holds it; it is unmapped after the last reference."""
    return _bytes(memory).reshape(-1, page_size)


def _bytes(memory: mmap.mmap) -> NDArray[np.uint8]:
    """Return a mapping as bytes, and keep NUMA balancing away from it, which removes access to pages for moments.

    It does that with memory without a policy (``vma_policy_mof()``, mm/mempolicy.c). This policy is the default
    behaviour.
    """
    view = np.frombuffer(memory, np.uint8)
    with suppress(OSError):  # ENOSYS, a kernel without nodes; EPERM, a container
        system_calls.call("mbind", view.ctypes.data, len(view), _MPOL_LOCAL, 0, 0, 0)
    return view
