"""What the kernel counts of all memory, and how much of it came and went: for tests of a machine that is in use."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import PAGE

_REFRESH = Path("/proc/sys/vm/stat_refresh")  # root's: what processors have counted for themselves is added


def meminfo() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    _REFRESH.read_bytes()
    lines = Path("/proc/meminfo").read_text(encoding="utf-8")
    return {name: int(number) << 10 for name, number in re.findall(r"^(\S+):\s+(\d+) kB$", lines, re.MULTILINE)}


def turnover() -> int:
    """Return how many bytes were allocated, freed and mapped since the machine started."""
    _REFRESH.read_bytes()
    lines = Path("/proc/vmstat").read_text(encoding="utf-8")
    return sum(map(int, re.findall(r"^(?:pgalloc_\w+|pgfree|pgfault) (\d+)$", lines, re.MULTILINE))) * PAGE
