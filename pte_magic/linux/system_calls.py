"""System calls for which the C library has no function: by number, as programs of this process' kind call them."""

from __future__ import annotations

import ctypes

from pte_magic.linux import hardware, libc

_POINTER = ctypes.sizeof(ctypes.c_void_p)
_NUMBERS = {
    "cachestat": dict.fromkeys(("x86_64", "x86_32", "arm64"), 451),
    "close_range": dict.fromkeys(("x86_64", "x86_32", "arm64"), 436),
    "kcmp": {"x86_64": 312, "x86_32": 349, "arm64": 272},
    "mbind": {"x86_64": 237, "x86_32": 274, "arm64": 235},
    "move_pages": {"x86_64": 279, "x86_32": 317, "arm64": 239},
    "perf_event_open": {"x86_64": 298, "x86_32": 336, "arm64": 241},
    "process_madvise": dict.fromkeys(("x86_64", "x86_32", "arm64"), 440),
    "set_mempolicy": {"x86_64": 238, "x86_32": 276, "arm64": 237},
    "userfaultfd": {"x86_64": 323, "x86_32": 374, "arm64": 282},
}
"""asm/unistd_64.h and asm/unistd_32.h of x86, asm-generic/unistd.h of arm64. Newer calls have one number everywhere."""


def number(name: str) -> int:
    """Return the number of a system call. A 32-bit program has its own ones, also under a 64-bit kernel."""
    machine = hardware.machine()
    return _NUMBERS[name]["x86_32" if machine == "x86_64" and _POINTER == 4 else machine]  # noqa: PLR2004  (bytes)


def call(name: str, *arguments: int) -> int:
    """Make a system call with whole numbers; return what it returned.

    Raises:
        OSError: It failed.

    """
    return libc.call("syscall", number(name), *arguments)
