"""`Regions`: the memory of each region of a process, summed up from its page-table entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.dataframes import by_region
from pte_magic.dataframes.runs import is_counted
from pte_magic.errors import PteMagicError, TargetError
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace
from pte_magic.text import screen
from pte_magic.text.units import counted
from pte_magic.views import region_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pte_magic.dataframes.by_region import Layout


class Regions(OwnFrame):
    """The regions of a process with their memory, the largest resident first; made by `PteFrame.regions`.

    ================  ========  ====================================================================================
    ``vaddr``         uint64    first address of the region
    ``size``          uint64    bytes from there to its end
    ``region``        str       its name in /proc/PID/maps, empty if it has none
    ``permissions``   category  such as ``rw-p``
    ``resident``      uint64    bytes of the pages that its entries map: ``Rss`` of smaps, and pages of hugetlb, which
                                the kernel counts elsewhere
    ``huge_share``    Float64   share of these on pages larger than the smallest, from 0 to 1; missing if there are none
    ``swapped``       uint64    bytes that its entries say are swapped out; smaps' ``Swap`` also counts shared memory
    ``shared``        UInt64    resident bytes that other entries map, too: ``Shared_Clean`` and ``Shared_Dirty``
    ``page_tables``   UInt64    bytes of page tables of the levels pte, pmd and pud. A table below which several regions
                                have addresses counts for the first of them: so sums count each table once
    ``pid``           int64     process, in the pid namespace of /proc
    ``host``          category  name of the host
    ================  ========  ====================================================================================

    Values that the walker cannot see are missing: ``page_tables`` without raw entries, ``huge_share`` where huge pages
    cannot be told from small ones, ``shared`` where a page changed while it was read. For such a region, ``attrs`` says
    how much is known to be shared: ``shared_at_least`` lists its pid, first address, and bytes. Where a huge page is
    shared in part, ``shared`` is what smaps says now, if all that is resident in the region is in the frame; else it is
    missing. A page table that no region has addresses below is in no row.
    """

    __module__ = "pte_magic"

    _TYPES: ClassVar[Mapping[str, Any]] = {
        **dict.fromkeys(("vaddr", "size", "resident", "swapped"), np.dtype(np.uint64)),
        **dict.fromkeys(("shared", "page_tables"), pd.UInt64Dtype()),
        "huge_share": pd.Float64Dtype(),
        "pid": np.dtype(np.int64),
    }
    _SAYS = frozenset({"resident", "swapped", "shared", "page_tables"})
    _WHOLE = frozenset({"vaddr", "region", "resident"})
    _MADE_BY = "frame.regions()"

    def __repr__(self) -> str:
        return region_table.text(self)

    def _repr_html_(self) -> str | None:
        return region_table.html(self)


def of_frame(frame: OwnFrame, known: Layout | None) -> Regions:
    """Return the sums of a frame of entries by region.

    Args:
        frame: The entries, one row per entry.
        known: The regions when they were read; None for those of now.

    Raises:
        PteMagicError: The entries are not of this host, or their process has gone.

    """
    frame._need("regions()", *by_region.NEEDED)  # noqa: SLF001  (a part of it)
    if is_counted(frame):
        message = "this frame has one row per run, and regions() needs one row per entry; "
        raise TargetError(message + "call it on the frame before .runs()")
    others = set(frame["host"].dropna().unique()) - {hardware.host()}
    if others:
        message = f"these entries are of the host {min(others)!r}, and regions are read from /proc of this one, "
        message += f"{hardware.host()!r}; call regions() there"
        raise TargetError(message)
    parts = []
    pids = pd.unique(frame["pid"]).tolist()
    for pid in pids:
        rows = frame[frame["pid"] == pid] if len(pids) > 1 else frame
        part = _with_smaps(by_region.sums(rows, known or _now(pid, raw=by_region.are_raw(rows))), pid)
        parts.append(part.assign(pid=np.int64(pid)))
    made = pd.concat(parts or [by_region.sums(frame, by_region.Layout(())).assign(pid=np.int64(0))], ignore_index=True)
    made["host"] = pd.Categorical([hardware.host()] * len(made), [hardware.host()])
    known_parts = made.loc[made[by_region.AT_LEAST] > 0, ["pid", "vaddr", by_region.AT_LEAST]]
    made = made.drop(columns=[by_region.AT_LEAST, by_region.IN_PART]).sort_values(
        ["resident", "size"], ascending=False, kind="stable", ignore_index=True
    )
    found = Regions(made)
    found.attrs[by_region.AT_LEAST] = known_parts.astype(object).to_numpy().tolist()
    return found


def within(frame: pd.DataFrame, known: Layout | None) -> pd.DataFrame:
    """Return a frame whose pictures show its regions only: what is between them is most of an address space."""
    if not known or not known.regions:
        return frame
    part = frame.copy(deep=False)
    part.attrs["ranges"] = [[region.start, region.end] for region in known.regions]
    return part


def whole_space(frame: OwnFrame, known: Layout | None, show: Callable[..., str | None]) -> str | None:
    """Return what `region_table` shows of the entries of a whole address space; None for other frames."""
    if known is None:
        return None
    try:
        found = of_frame(frame, known)
    except TargetError:  # columns were changed in place
        return None
    entries = counted(len(frame), "entry", "entries")
    these = screen.either(".runs() shows these, and %pte --runs all, too", "--entries shows these")
    return show(found, f"a sum of {entries}; {these}")


def _with_smaps(part: pd.DataFrame, pid: int) -> pd.DataFrame:
    """Ask smaps where entries do not tell how much of huge pages is shared."""
    unknown = part[part[by_region.IN_PART]]
    if not len(unknown):
        return part
    last = unknown.iloc[-1]
    try:
        with AddressSpace(pid) as space:
            mappings = space.mappings(int(unknown["vaddr"].iloc[0]), int(last["vaddr"]) + int(last["size"]))
    except PteMagicError:  # it has exited, or is somebody else's now
        return part
    return by_region.with_smaps(part, mappings)


def _now(pid: int, *, raw: bool) -> Layout:
    with AddressSpace(pid) as space:
        return by_region.layout(space, raw=raw)
