"""Facts about the running machine: its name, and read once, its address width and its page size."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

FIVE_LEVELS = 5
"""What `levels` returns with LA57 in use."""

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
"""Bytes of the smallest page."""


def host() -> str:
    """Return the name of this machine, as in the ``host`` column.

    Not kept, as `platform.node` does: a process may enter another UTS namespace, with another name (setns(2)).
    """
    return os.uname().nodename


@functools.cache
def _cpuinfo() -> str:
    """Return the first processor's part of /proc/cpuinfo."""
    return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0]


@functools.cache
def levels() -> int:
    """Return how many levels the page tables have: 5 with LA57 in use, else 4.

    The kernel clears the CPU's ``la57`` flag when it runs with four levels (``early_identify_cpu()``,
    arch/x86/kernel/cpu/common.c), so the flag tells what is in use, not what the CPU could do.
    """
    flags = re.search(r"^flags\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    return FIVE_LEVELS if flags and "la57" in flags[1].split() else 4


@functools.cache
def physical_bits() -> int:
    """Return the width of a physical address, memory encryption's bit not counted.

    /proc/cpuinfo shows ``x86_phys_bits``, which the kernel reduces where the C-bit takes address bits
    (``early_detect_mem_encrypt()``, arch/x86/kernel/cpu/amd.c). 52, the architecture's limit, if it does not tell.
    """
    found = re.search(r"address sizes\s*:\s*(\d+) bits physical", _cpuinfo())
    return int(found[1]) if found else 52


@functools.cache
def user_limit() -> int:
    """Return the first address above all user addresses: 2**47 with four levels, 2**56 with five."""
    return 1 << (56 if levels() == FIVE_LEVELS else 47)
