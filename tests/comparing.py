"""Two looks at the same memory, of which the kernel clears accessed bits when it likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from entry_bits import bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic import PteFrame
    from pte_magic.walkers.entries import Entries

ACCESSED = bits().accessed


def assert_equal(found: Entries, expected: Entries) -> None:
    """Compare what two walks returned, but for accessed bits: these the kernel clears when it likes."""
    for name in ("vaddr", "size", "level", "protnone"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    ours = np.uint64(0 if found.encoding == "pagemap" else ACCESSED)
    assert np.array_equal(found.entry | ours, expected.entry | ours)
    for name in ("encoding", "walker", "encryption_mask", "frames_hidden"):
        assert getattr(found, name) == getattr(expected, name), name


def unchanged(walk: Callable[[], Entries], look: Callable[[], list[Entries]]) -> tuple[Entries, list[Entries]]:
    """Return what a walk finds and what another look does, when the kernel touched no entry meanwhile."""
    before = walk()
    for _ in range(10):
        found, after = look(), walk()
        if np.array_equal(before.entry, after.entry):
            return before, found
        before = after
    pytest.fail("entries changed at ten attempts to look at them")


def settled(table: PteFrame) -> PteFrame:
    """Return a frame without the accessed bit: the kernel clears it now and then, to see whether it comes again."""
    return table.assign(entry=table["entry"] & ((1 << 64) - 1 - ACCESSED), accessed=None)


def of_entries(table: PteFrame) -> PteFrame:
    """Return a frame without what a walk reads from pagemap after the entries; streams and snapshots do not have it."""
    kind = table["kind"].where(table["kind"] != "zero_page")
    return table.assign(file=None, mmap_exclusive=None, kind=kind)
