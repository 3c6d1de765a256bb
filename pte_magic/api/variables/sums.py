"""`Sums`: the memory of variables, by variable and by use; of millions of ranges some are summed up at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.api.variables.pages import STATES
from pte_magic.targets.disjoint import Disjoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.api.variables.pages import Pages
    from pte_magic.api.variables.rest_of_process import Areas

_AT_ONCE = 1 << 16  # ranges
_FATES = 3


class Sums:
    """Bytes of variables.

    Attributes:
        by_owner: Bytes, and bytes in each of `STATES`, of each variable, ``uint64[owners]``.
        by_use: The same of each use of memory, ``uint64[uses]``.
        fates: Resident bytes by variable and state of `held_objects`, ``uint64[owners, states]``.

    """

    def __init__(self, found: Disjoint, owners: int, areas: Areas, pages: Pages) -> None:
        """Sum them up.

        Args:
            found: The memory of variables.
            owners: How many variables there are.
            areas: All memory by its use.
            pages: The pages.

        """
        names = ("bytes", *STATES)
        self.by_owner = {name: np.zeros(owners, np.uint64) for name in names}
        self.by_use = {name: np.zeros(len(areas.uses), np.uint64) for name in names}
        self.fates = np.zeros((owners, _FATES), np.uint64)
        for at in range(0, len(found.start), _AT_ONCE):
            of = slice(at, at + _AT_ONCE)
            some = Disjoint(found.start[of], found.end[of], found.owner[of], found.state[of])
            self._add(areas.split(some), areas, pages)

    def _add(self, some: Disjoint, areas: Areas, pages: Pages) -> None:
        use = areas.of(some.start)
        known = use >= 0
        for name, values in (pages.sums(some.start, some.end) | {"bytes": some.end - some.start}).items():
            _count(self.by_owner[name], some.owner, values)
            _count(self.by_use[name], use[known], values[known])
            if name == "resident":
                for fate in range(_FATES):
                    of = some.state == fate
                    _count(self.fates[:, fate], some.owner[of], values[of])


def _count(to: NDArray[np.uint64], at: NDArray[Any], values: NDArray[np.uint64]) -> None:
    to += np.bincount(at, values.astype(np.float64), len(to)).astype(np.uint64)
