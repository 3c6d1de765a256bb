"""`Portions`: the rows of one process as stretches of addresses whose pages are alike, cut to what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.dataframes.columns import translated
from pte_magic.dataframes.diff.values import codes
from pte_magic.dataframes.runs import counts
from pte_magic.formats.field import KINDS, STATES

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray

_TABLE = STATES.index("table")


class Portions(NamedTuple):
    """Stretches of addresses, in the order of the rows; ``m`` of them.

    Attributes:
        first: The first address, ``uint64[m]``.
        bytes: The bytes, ``uint64[m]``.
        page: The bytes of each page or contiguous block, ``uint64[m]``.
        level: Indices into `geometry.LEVELS`, -1 where it is not known, ``int8[m]``.
        state: Indices into `field.STATES`, ``int8[m]``.
        kind: Indices into `field.KINDS`, -1 without one, ``int8[m]``.
        exclusive: 1 if it is mapped only here, 0 if not, -1 where that is not known, ``int8[m]``.
        file: The same for pages of files or of shared memory, ``int8[m]``.

    """

    first: NDArray[np.uint64]
    bytes: NDArray[np.uint64]
    page: NDArray[np.uint64]
    level: NDArray[np.int8]
    state: NDArray[np.int8]
    kind: NDArray[np.int8]
    exclusive: NDArray[np.int8]
    file: NDArray[np.int8]

    def of(self, rows: NDArray[np.bool_]) -> Portions:
        """Return some of them."""
        return _made(part[rows] for part in self)

    def having(self, state: str) -> NDArray[np.bool_]:
        """Tell which are of a state, ``bool[m]``."""
        found: NDArray[np.bool_] = self.state == STATES.index(state)
        return found

    def called(self, kind: str) -> NDArray[np.bool_]:
        """Tell which are of a kind, ``bool[m]``."""
        found: NDArray[np.bool_] = self.kind == KINDS.index(kind)
        return found

    def total(self, rows: NDArray[np.bool_] | None = None) -> int:
        """Return the bytes of all, or of some."""
        return sum((self.bytes if rows is None else self.bytes[rows]).tolist())  # 2**64 bytes are possible

    def within(self, start: int, end: int) -> int:
        """Return the bytes that lie in ``[start, end)``."""
        return _cut(self, ((start, end),)).total() if start < end else 0


def portions(frame: pd.DataFrame) -> Portions:
    """Return the portions of a frame of one process that `frame_kinds.can_be_counted`, without page tables.

    If its `attrs` have ``ranges``, first addresses and ends, what lies outside of these is left out.
    """
    first, covered = frame["vaddr"].to_numpy(np.uint64), counts(frame)[1]
    page = translated(frame)
    facts = [codes(frame, name) for name in ("level", "state", "kind", "mmap_exclusive", "file")]
    changes = np.ones(len(first), np.bool_)
    changes[1:] = first[1:] != first[:-1] + covered[:-1]
    for values in (page, *facts):
        changes[1:] |= values[1:] != values[:-1]
    at = np.flatnonzero(changes)
    found = Portions(first[at], np.add.reduceat(covered, at), page[at], *(values[at] for values in facts))
    found = found.of(found.state != _TABLE)
    ranges = ranges_of(frame)
    return _cut(found, ranges) if ranges else found


def ranges_of(frame: pd.DataFrame) -> tuple[tuple[int, int], ...]:
    """Return what was asked for, from the `attrs` of a frame: see `api.walk`; empty if they do not tell it."""
    try:
        found = tuple((int(start), int(end)) for start, end in frame.attrs.get("ranges", ()))
    except (TypeError, ValueError, OverflowError):  # whatever somebody put there
        return ()
    return found if all(0 <= start < end <= 1 << 64 for start, end in found) else ()


def _cut(found: Portions, ranges: tuple[tuple[int, int], ...]) -> Portions:
    parts = []
    last = found.first + (found.bytes - np.uint64(1))  # the end may be 2**64
    for start, end in ranges:
        within = (found.first < np.uint64(end)) & (last >= np.uint64(start))
        some = found.of(within)
        first = np.maximum(some.first, np.uint64(start))
        end_at = np.minimum(last[within], np.uint64(end - 1))
        parts.append(some._replace(first=first, bytes=end_at - first + np.uint64(1)))
    return _made(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _made(columns: Iterable[Any]) -> Portions:
    return Portions(*columns)
