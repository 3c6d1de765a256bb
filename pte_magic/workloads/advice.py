"""Requests to the kernel about memory, done at once: swap it out, or make huge pages of it."""

from __future__ import annotations

import itertools
import os
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from pte_magic.errors import WorkloadError
from pte_magic.linux import kernel_text, libc, pagemap
from pte_magic.linux.address_space import own
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.workloads.whole_pages import Range, whole_pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

_MADV_PAGEOUT, _MADV_COLLAPSE = 21, 25  # asm-generic/mman-common.h; Python has no names for them


def page_out(array: np.ndarray[Any, Any], seconds: float = 10) -> None:
    """Let the kernel move all pages of an array out of memory: to swap, or to their file.

    madvise(2) with MADV_PAGEOUT (since 5.4) is repeated until no page is left. A page that was just touched for the
    first time is in a list of its CPU, and stays: only madvise on that CPU empties the list (``lru_add_drain()``,
    mm/swap.c). So it is called on each CPU in turn.

    Args:
        array: Whole pages, such as a `private_mapping` or rows of it.
        seconds: The time to try.

    Raises:
        WorkloadError: There is nowhere to swap to, or pages stayed, such as those that another process maps, too.

    """
    where = whole_pages(array)
    until = time.monotonic() + seconds
    turns = _on_each_cpu()
    while (stay := _present(where)).any():
        if not (stay & pagemap.FILE).all() and not _can_swap():
            message = "there is no swap space; as root, make a file of 256 MiB, then: mkswap FILE; swapon FILE"
            raise WorkloadError(message)
        if time.monotonic() > until:
            pages = where.size // PAGE_SIZE
            message = f"{len(stay)} of {pages} pages stayed: another process maps them, or there is no room for them"
            raise WorkloadError(message)
        with next(turns):
            libc.call("madvise", *where, _MADV_PAGEOUT)


def collapse(array: np.ndarray[Any, Any]) -> None:
    """Let the kernel make huge pages of small ones now, as khugepaged does later: madvise(2), MADV_COLLAPSE.

    Args:
        array: Whole pages, such as rows of a `huge_array`; pages that do not fill a huge page stay small.

    Raises:
        WorkloadError: The array does not consist of whole pages.
        OSError: EINVAL from a kernel before 6.1, or with the advice for small pages; ENOMEM if there is no huge page.

    """
    libc.call("madvise", *whole_pages(array), _MADV_COLLAPSE)


def _on_each_cpu() -> Iterator[AbstractContextManager[object]]:
    """Yield for ever, with this thread first on any CPU, then on each of its CPUs in turn."""
    yield nullcontext()
    for cpu in itertools.cycle(sorted(os.sched_getaffinity(0))):
        yield _on_cpu(cpu)


@contextmanager
def _on_cpu(cpu: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    with suppress(OSError):  # it was taken away from us, or from the machine
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _present(where: Range) -> NDArray[np.uint64]:
    words = pagemap.words(own(), where.start, where.size // PAGE_SIZE)
    present: NDArray[np.uint64] = words[words & pagemap.PRESENT != 0]
    return present


def _can_swap() -> bool:
    # After the line of titles, one for each place to swap to.
    try:
        return len(kernel_text.lines(kernel_text.read("/proc/swaps"))) > 1
    except OSError:  # a kernel without CONFIG_SWAP, or a /proc that has only processes
        return False
