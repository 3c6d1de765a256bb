"""Waits until something is the case, in tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 300.0
"""For what takes one: a machine that is played by software, among others that are busy, may be slow."""


def wait_until(
    happened: Callable[[], object], *, instead: Callable[[], object] = str, seconds: float = SECONDS
) -> None:
    """Wait until something has happened; fail, and say what is the case instead, if it takes too long."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, instead()
        time.sleep(0.02)
