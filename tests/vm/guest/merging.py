"""Kernel samepage merging, switched on for a while."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KSM = Path("/sys/kernel/mm/ksm")
MERGEABLE, UNMERGEABLE = 12, 13  # MADV_


@contextmanager
def merging() -> Iterator[None]:
    """Merge pages, without a rest."""
    wanted = {"sleep_millisecs": "0", "pages_to_scan": "10000", "run": "1"}
    before = {name: (KSM / name).read_text(encoding="ascii") for name in wanted}
    try:
        for name, value in wanted.items():
            (KSM / name).write_text(value, encoding="ascii")
        yield
    finally:
        (KSM / "run").write_text("2", encoding="ascii")  # unmerge
        for name, value in before.items():
            (KSM / name).write_text(value, encoding="ascii")


def rest() -> None:
    """Merge no more pages; those that are merged stay so. ksmd has all of a processor, and changes what it looks at."""
    (KSM / "run").write_text("0", encoding="ascii")
