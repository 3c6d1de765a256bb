"""`Wanted`: the processes and targets that somebody asked for, to be compared once or again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pte_magic.api.sharing import targets_or_regions
from pte_magic.errors import PteMagicError
from pte_magic.linux import hardware
from pte_magic.linux.address_space import own
from pte_magic.targets import target as targets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pte_magic.api.sharing.members import Members
    from pte_magic.api.sharing.targets_or_regions import Named, Parts
    from pte_magic.linux.regions import Region

_LOOKED = (
    "each object that {} leads to was looked at, and Python counts references in the objects: "
    "so their pages are copied here from now on, if they were still shared"
)
_LEFT = "objects of lists, dicts and the like are counted with their regions; %pte --shared {} tells those of one"
_SHELLS = frozenset({"In", "Out"})  # names that IPython adds


class Wanted:
    """Processes and targets to compare. It holds references to the objects, so their memory is not freed.

    Attributes:
        text: The words that name it.
        pids: The processes, as of `members.members`.
        notes: Notes about the targets.
        is_everything: True for all memory, without targets.

    """

    def __init__(
        self,
        text: str,
        pids: list[int] | None,
        named: Sequence[Named] | None = None,
        namespace: Mapping[str, Any] | None = None,
    ) -> None:
        """Ask for targets, or for all memory.

        Args:
            text: The words that name it.
            pids: The processes.
            named: The targets; None for all memory.
            namespace: The objects by name whose memory is told apart where all memory is asked for.

        """
        self.text, self.pids = text, pids
        self.notes: list[str] = []
        self.is_everything = named is None
        self._named, self._namespace = named or (), namespace or {}
        self._deep = [one.name for one in self._named if targets_or_regions.is_deep(one)]
        self._parts: Parts | None = None

    def ranges(self, found: Members) -> list[tuple[int, int]]:
        """Return the addresses to compare.

        They are compared before anybody looks for the objects that a target leads to: that writes to these.
        """
        if self._parts:
            return self._parts.ranges()
        if self.is_everything or self._deep:
            every = [*found.here.regions(), *_regions(found)]
            return list(targets.merged((one.start, one.end) for one in every if one.start < hardware.user_limit()))
        return list(targets.merged(pages for one in self._named if one.meant for pages in one.meant.ranges))

    def parts(self, found: Members) -> Parts:
        """Return the parts whose bytes are summed up; those of targets stay the same."""
        if self._parts:
            return self._parts
        if not self.is_everything:
            self._parts, self.notes = targets_or_regions.of_named(self._named)
            self.notes += [_LOOKED.format(name) for name in self._deep]
            return self._parts
        namespace = self._namespace if found.here.pid == own().pid else {}
        lists = [name for name in targets_or_regions.left_to_regions(namespace) if name not in _SHELLS]
        self.notes = [_LEFT.format(lists[0])] if lists else []
        return targets_or_regions.of_names(namespace, found.here.regions(), _regions(found))


def _regions(found: Members) -> list[Region]:
    """Return the regions of the other processes."""
    regions = []
    for space in found.others:
        try:
            regions += space.regions()
        except PteMagicError:  # `compare` says so
            continue
    return regions
