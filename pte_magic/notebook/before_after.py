"""Two walks of a target, before and after something happens to it, and their comparison."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pte_magic.api import progress, walk
from pte_magic.errors import PteMagicError
from pte_magic.notebook.line_target import of_value
from pte_magic.text.units import size
from pte_magic.walkers.entries import same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.api.pte_diff import PteDiff
    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.linux.regions import Region
    from pte_magic.targets.named_target import Named
    from pte_magic.walkers.entries import Entries

PAUSE = 0.05
"""Seconds between two looks, while something may still change."""
REST = 1.0
"""Seconds without a change after which the wait ends."""
_COUNTDOWN = "{desc} |{bar}| {n:.0f} s left"  # the sign of life meanwhile


class Around:
    """A walk of a target before something happens, to compare with a walk afterwards.

    It holds a reference to the object: if the name is deleted, another object cannot get the memory, whose entries
    would then be compared with the old ones.
    """

    def __init__(self, target: Named, walker: str) -> None:
        """Take the walk before.

        Raises:
            PteMagicError: It cannot be walked.

        """
        self.target = target
        self._walker = walker
        self._before = self._walk()
        self._regions = target.space.regions()

    def difference(self) -> PteDiff:
        """Take the walk after, and return what changed.

        Raises:
            NoAddressSpaceError: The process exited meanwhile, or replaced its address space.
            PteMagicError: It cannot be walked any more.

        """
        return self._before.diff(self._walk())

    def entries(self) -> Entries | None:
        """Return the raw entries as they are now; None if they cannot be read any more."""
        try:
            return walk.read(self.target.meant, self.target.space, self._walker, tables=False)
        except PteMagicError:
            return None

    def notes(self, namespace: dict[str, Any]) -> list[str]:
        """Return notes about the target that its entries do not show, one line each.

        Args:
            namespace: Python's variables as they are now.

        """
        name, value, meant, space = self.target[1:]
        found = []
        if value is not None and name.isidentifier():
            if name not in namespace:
                found.append(f"`{name}` was deleted; %%pte held its memory until now, so it is not unmapped")
            elif namespace[name] is not value:
                found.append(f"`{name}` is another object now; the comparison is for the memory of the old one")
        try:
            if remapped := _remapped(self._regions, space.regions(), meant.ranges):
                return found + remapped
            if value is not None and of_value(value, space).ranges != meant.ranges:
                found.append(f"`{name}` moved its data; the comparison is for the old addresses")
        except PteMagicError as error:  # such as for a released memoryview
            found.append(str(error))
        return found

    def _walk(self) -> PteFrame:
        meant, space = self.target.meant, self.target.space
        return walk.built(walk.read(meant, space, self._walker, tables=meant.address is not None), meant, space)


def settle(looks: Sequence[Around], seconds: float) -> None:
    """Wait for later changes: until something has changed and then nothing for `REST`, or the time is over.

    Raises:
        KeyboardInterrupt: It was interrupted.

    """
    deadline = time.monotonic() + seconds
    last = [look.entries() for look in looks]
    changed: float | None = None
    with progress.bar("waiting for later changes", seconds, "s", _COUNTDOWN) as bar:
        bar.update(seconds)
        while any(entries is not None for entries in last) and (now := time.monotonic()) < deadline:
            if changed is not None and now - changed >= REST:
                return
            time.sleep(min(PAUSE, deadline - now))
            found = [look.entries() for look in looks]
            if not all(map(same, last, found)):
                changed, last = time.monotonic(), found
            bar.update(now - time.monotonic())


def _remapped(before: Sequence[Region], after: Sequence[Region], ranges: Sequence[tuple[int, int]]) -> list[str]:
    """Return notes about addresses that are no longer mapped, and that have another mapping, one line each."""
    gone: list[tuple[int, int]] = []
    other: list[tuple[int, int]] = []
    kept = set(after)
    for region in before:
        if region in kept:
            continue
        for start, end in ranges:
            at, stop = max(start, region.start), min(end, region.end)
            for now in after:
                if now.end <= at or now.start >= stop:
                    continue
                if now.start > at:
                    gone.append((at, now.start))
                if _what(now) != _what(region):
                    other.append((max(at, now.start), min(stop, now.end)))
                at = now.end
            if at < stop:
                gone.append((at, stop))
    return [
        f"{what}: {size(sum(end - start for start, end in found))}, {found[0][0]:#014x}-{found[0][1]:#014x}"
        + (f" and {len(found) - 1} more" if len(found) > 1 else "")
        for what, found in (("no longer mapped", gone), ("now another mapping", other))
        if found
    ]


def _what(region: Region) -> object:
    """Return the identity of a region's mapping: its file, whatever its name is now, or the kernel's name for it."""
    return region.file if region.file[1] else region.path
