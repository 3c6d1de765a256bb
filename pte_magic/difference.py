"""`PteDiff`: what changed between two looks at page-table entries, as a pandas DataFrame with words for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pte_magic import display
from pte_magic.comparison import flipped, rows, showing


class PteDiff(pd.DataFrame):
    """What changed from one frame to another: one row an entry that changed, in ascending order of address.

    Where the two frames have entries of different sizes, the smaller ones are the rows, except where many became one:
    that is one row. Columns, in this order:

    ================  ================  ============================================================================
    ``vaddr``         uint64            first address that changed
    ``size``          uint64            bytes that changed
    ``level``         ordered category  level of the smaller of the two entries, or of the one that others became
    ``before``        UInt64            raw entry before; missing if unknown, not looked at, or several that became one
    ``after``         UInt64            raw entry after; missing if unknown or not looked at
    ``flipped``       UInt64            bits that are not the same; missing if one of the two is
    ``change``        str               what that means, in words, comma-separated: ``write-protected, dirty``
    ``state_before``  category          states as of `PteFrame`; missing if not looked at, or several became one
    ``state_after``   category
    ``pfn_before``    UInt64            page frame numbers of this row, also within a huge page
    ``pfn_after``     UInt64
    ``level_before``  ordered category  level of the entry that covered it
    ``level_after``   ordered category
    ================  ================  ============================================================================

    ``attrs`` say how many entries were ``compared`` and how many of these had ``changed``, and have the frames'
    ``encryption_mask``, if there is one. What is unknown on either side is no change; if one of the frames was read
    without page frame numbers, ``before`` and ``after`` both are. Addresses that only one of the two frames covers are
    rows, too, unless there was nothing: an empty entry often covers more than was asked for.
    """

    @property
    def _constructor(self) -> type[PteDiff]:
        return PteDiff

    def runs(self) -> PteDiff:
        """Merge neighbours of the same size to which the same happened: the same words, and the same bits flipped.

        Returns:
            The first row of each run, with two columns more after ``size``: ``entries`` (int64), how many it stands
            for, and ``bytes`` (uint64), how much they cover. Of page frames and places in swap, which are others in
            each row, it has those of the first.

        """
        first, size = self["vaddr"].to_numpy(), self["size"].to_numpy()
        starts = np.ones(len(self), np.bool_)
        starts[1:] = (first[1:] != first[:-1] + size[:-1]) | (size[1:] != size[:-1])
        for name in ("change", "level", "state_before", "state_after", "level_before", "level_after"):
            code = pd.factorize(self[name])[0]
            starts[1:] |= code[1:] != code[:-1]
        starts[1:] |= flipped.changes(self)
        at = np.flatnonzero(starts)
        entries = np.diff(np.append(at, len(self)))
        merged: PteDiff = self.iloc[at].reset_index(drop=True)  # with the attrs
        merged.insert(2, "entries", entries)
        merged.insert(3, "bytes", merged["size"] * entries.astype(np.uint64))
        return merged

    def summary(self) -> pd.DataFrame:
        """Count entries and bytes by what happened to them.

        Returns:
            Index ``change``, columns ``entries`` (int64) and ``bytes`` (uint64), the most entries first. Entries that
            point to tables cover nothing themselves.

        """
        is_table = (self["state_before"] == "table") | (self["state_after"] == "table")
        weight = self["entries"] if "entries" in self.columns else np.ones(len(self), np.int64)
        covered = self["bytes"] if "bytes" in self.columns else self["size"]
        return (
            pd.DataFrame({"change": self["change"], "entries": weight, "bytes": covered.where(~is_table, 0)})
            .groupby("change", sort=False)
            .sum()
            .sort_values("entries", ascending=False, kind="stable")
        )

    def to_string(self, *args: Any, formatters: Any = None, **options: Any) -> Any:
        """Return the difference as text, as `pandas.DataFrame.to_string` does, addresses and entries in hex."""
        return super().to_string(*args, formatters=formatters or display.formatters(self), **options)

    def to_html(self, *args: Any, formatters: Any = None, **options: Any) -> Any:
        """Return the difference as HTML, as `pandas.DataFrame.to_html` does, addresses and entries in hex."""
        return super().to_html(*args, formatters=formatters or display.formatters(self), **options)

    def __repr__(self) -> str:
        return showing.text(self)

    def _repr_html_(self) -> str | None:
        return showing.html(self)


def compare(before: pd.DataFrame, after: pd.DataFrame) -> PteDiff:
    """Tell what changed from one frame to another.

    Args:
        before: A `PteFrame` of one process, an entry a row.
        after: The same or other addresses, later or of another process.

    Returns:
        The difference.

    Raises:
        TargetError: A frame lacks addresses or states, has runs for rows, or covers an address twice.

    """
    found = rows.compare(before, after)
    difference = PteDiff(found)
    difference.attrs = found.attrs  # which no constructor takes over
    return difference
