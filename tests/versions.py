"""Which kernel this is: tests ask, so that none is skipped where there is something to test."""

from __future__ import annotations

import platform
import re


def release() -> tuple[int, int]:
    """Return the version of the running kernel, such as ``(6, 12)``."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    assert found
    return int(found[1]), int(found[2])
