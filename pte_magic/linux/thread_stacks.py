"""Stacks of threads of this process: an address in each."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from pte_magic.linux import kernel_text

_STACK_POINTER = -2  # of the fields in /proc/PID/task/TID/syscall, proc(5); a thread that runs has one field


def addresses() -> list[int]:
    """Return an address in the stack of each thread that waits in the kernel, or runs Python; of others, nothing.

    glibc's threads have their descriptor, whose address is their ``pthread_t``, in the mapping of the stack, at its end
    (``allocate_stack()``, nptl/allocatestack.c).
    """
    found = list(sys._current_frames())  # noqa: SLF001  (by the numbers of threads, which are pthread_t)
    for tid in os.listdir("/proc/self/task"):  # noqa: PTH208  (names only)
        with suppress(OSError):
            fields = kernel_text.read(f"/proc/self/task/{tid}/syscall").split()
            if len(fields) > -_STACK_POINTER:
                found.append(int(fields[_STACK_POINTER], 16))
    return found
