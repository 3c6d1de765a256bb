"""Page frames that the kernel is told are broken."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agreement import kpageflags

if TYPE_CHECKING:
    from collections.abc import Iterator

HWPOISON = 100  # MADV_HWPOISON: as if the hardware had found the frame broken
KPF_HWPOISON = 1 << 19
_UNPOISON = Path("/sys/kernel/debug/hwpoison/unpoison-pfn")


@contextmanager
def mended() -> Iterator[list[int]]:
    """Give a list for page frames; they are mended in the end."""
    frames: list[int] = []
    yield frames
    subprocess.run(["modprobe", "hwpoison-inject"], check=True)
    for frame in frames:
        _UNPOISON.write_text(hex(frame), encoding="ascii")
        assert not kpageflags(frame) & KPF_HWPOISON
    subprocess.run(["modprobe", "--remove", "hwpoison-inject"], check=True)
