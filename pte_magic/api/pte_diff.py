"""`PteDiff`: the changes between two walks, as a DataFrame with words for each; `PteDiffs` holds several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.dataframes import runs
from pte_magic.dataframes.diff import columns
from pte_magic.dataframes.diff.compare import compare as compared
from pte_magic.dataframes.diff.runs import NEEDED, merged
from pte_magic.errors import TargetError
from pte_magic.linux.importing import importing
from pte_magic.views import diff_view
from pte_magic.views.page_map.two_maps import TwoMaps
from pte_magic.views.several_targets import ByTarget

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from pte_magic.views.page_map.before_after import BeforeAfter


class PteDiff(OwnFrame):
    """The changes from one frame to another: one row per changed entry, in ascending order of address.

    Where the two frames have entries of different sizes, each of the smaller ones is a row, except where many entries
    became one: that is one row. Columns, in this order:

    ================= ================  ============================================================================
    ``vaddr``         uint64            first address that changed
    ``size``          uint64            bytes that changed
    ``level``         ordered category  level of the smaller of the two entries, or of the one that others became
    ``before``        UInt64            raw entry before; missing if unknown, not looked at, or several that became one
    ``after``         UInt64            raw entry after; missing if unknown or not looked at
    ``flipped``       UInt64            bits that differ; missing if ``before`` or ``after`` is missing
    ``change``        str               the change in words, comma-separated: ``write-protected, dirty``
    ``state_before``  category          states as in `PteFrame`; missing if not looked at, or several became one
    ``state_after``   category
    ``pfn_before``    UInt64            page frame numbers of this row, also within a huge page
    ``pfn_after``     UInt64
    ``level_before``  ordered category  level of the entry that covered these addresses
    ``level_after``   ordered category
    ``format_before`` category          all that decoding the entry needs, as in `PteFrame`
    ``format_after``  category
    ================= ================  ============================================================================

    ``attrs`` have the number of entries that were ``compared`` and that have ``changed``, and the frames'
    ``encryption_mask``, if there is one. If the frames do not show all bits of their entries, ``seen`` says in
    words what they show, and if they are of two processes, ``processes`` names both: the words then say what is
    only in the first, and only in the second. A value that is missing on either side does not count as a change. If
    one of the frames was read without page frame numbers, ``before`` and ``after`` both have none. Addresses that
    only one of the two frames covers are rows, too, unless the entry is empty: an empty entry often covers more
    than the target.
    """

    __module__ = "pte_magic"

    _TYPES = columns.TYPES
    _SAYS = columns.SAYS
    _WHOLE = frozenset({"vaddr", "size", "change", "before"})
    _MADE_BY = ".diff()"
    # The frames that it is of; None for what pandas made of it, and for what came back from a file.
    _frames: tuple[pd.DataFrame, pd.DataFrame] | None = None

    def runs(self) -> PteDiff:
        """Merge neighbours of the same size with the same change: the same words, and the same flipped bits.

        Returns:
            The first row of each run, with two more columns after ``size``: ``entries`` (int64), the number of entries
            in the run, and ``bytes`` (uint64), the bytes that they cover. Runs that continue each other are merged.
            Page frames and places in swap, which differ in each row, are those of the first.

        """
        self._need("runs()", *NEEDED)
        found: PteDiff = merged(self)  # with the attrs
        return found

    def summary(self) -> pd.DataFrame:
        """Count entries and bytes by change.

        Returns:
            Index ``change``, columns ``entries`` (int64) and ``bytes`` (uint64), the most entries first. Entries that
            point to page tables cover nothing themselves.

        """
        self._need("summary()", "change", "size", "state_before", "state_after")
        is_table = np.asarray((self["state_before"] == "table") | (self["state_after"] == "table"), np.bool_)
        entries, covered = runs.counts(self)
        covered = np.where(is_table, np.uint64(0), covered)
        return (
            pd.DataFrame({"change": self["change"].array, "entries": entries, "bytes": covered})
            .groupby("change", sort=False)
            .sum()
            .sort_values("entries", ascending=False, kind="stable")
        )

    def map(  # type: ignore[override]  # without a function, it is ours
        self, func: Callable[[Any], Any] | str | None = None, na_action: Any = None, **options: Any
    ) -> Any:
        """Return a picture of both frames as two maps; with a function, do as `pandas.DataFrame.map` does.

        For the picture, a difference keeps its two frames.

        Args:
            func: The function that pandas calls with each value; for the picture the same as ``color``.
            na_action: Of pandas.
            options: Of pandas; for the picture ``color``, the meaning of its colours: by default the first that
                distinguishes something in the two frames, and else as in `PteFrame.map`.

        Raises:
            TargetError: There is no such colouring, or this is not what `diff` returned: its frames are not known.

        """
        if callable(func):
            return super().map(func, na_action=na_action, **options)
        with importing():
            from pte_magic.views.page_map.before_after import BeforeAfter  # noqa: PLC0415  (widgets take as long to import as all else)

        return BeforeAfter(self._maps("map()", **({"color": func} | options if func is not None else options)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the picture of both frames, as `map` draws it: ``.svg`` or ``.png``, see `BitField.save`.

        Raises:
            TargetError: The name ends in something else, the file cannot be written, or this is not what `diff`
                returned.
            MissingPackageError: resvg-py, which PNG needs, is not installed.

        """
        self._maps("save()").save(path)

    def _maps(self, who: str, color: str | None = None) -> TwoMaps:
        self._need(who, "vaddr", "size", "change", "state_before", "state_after")
        if self._frames is None:
            message = (
                "this is a part or a copy of a difference, which does not keep its two frames; type before.map(after)"
            )
            raise TargetError(message)
        return TwoMaps(*self._frames, self, color)

    def __repr__(self) -> str:
        return diff_view.text(self)

    def _repr_html_(self) -> str | None:
        return diff_view.html(self)


class PteDiffs(ByTarget[PteDiff]):
    """The differences of several targets: a dict of `PteDiff`, by the text that named each."""

    __module__ = "pte_magic"

    def map(self, color: str | None = None) -> ByTarget[BeforeAfter]:
        """Return a dict of `PteDiff.map`, by the same texts.

        Args:
            color: The meaning of the colours, as there.

        Raises:
            TargetError: There is no such colouring.

        """
        return ByTarget({name: found.map(color) for name, found in self.items()})


def compare(before: pd.DataFrame, after: pd.DataFrame) -> PteDiff:
    """Return the changes from one frame to another.

    Args:
        before: A `PteFrame` of one process, one row per entry.
        after: The same or other addresses, later or of another process.

    Returns:
        The difference.

    Raises:
        TargetError: A frame lacks addresses or states, has one row per run, or covers an address twice.

    """
    found = compared(before, after)
    difference: PteDiff = PteDiff._own(found)  # noqa: SLF001  (PteDiff(found) would look for what is to be restored)
    difference.attrs = found.attrs
    difference._frames = before.copy(deep=False), after.copy(deep=False)  # noqa: SLF001  (of ours; as they are now)
    return difference
