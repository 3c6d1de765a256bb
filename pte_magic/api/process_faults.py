"""The page faults of other processes: a row per fault, with its region and its kind, and sums by region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pte_magic.errors import PteMagicError
from pte_magic.events import fault_kinds
from pte_magic.events.fault_record import MAJOR, NOT_READ, USER
from pte_magic.formats import kernel
from pte_magic.linux.address_space import AddressSpace
from pte_magic.text import screen
from pte_magic.text.units import size
from pte_magic.views.text_table import Rules, fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pte_magic.events.fault_record import Faults
    from pte_magic.linux.regions import Region

_ANONYMOUS, _GONE = "anonymous", "not mapped any more"
_RULES = Rules(leave=("us", "bytes"), keep={"faults", "kind", "region"}, wrap={"kind"}, cut={"region"})
_ROWS = 20  # of the table, unless all are wanted


class KnownRegions:
    """The regions of processes, as they were when they were read last."""

    def __init__(self) -> None:
        self._of: dict[int, list[Region]] = {}

    def read(self, pids: Iterable[int]) -> None:
        """Read those of some processes; what has gone since, and has nothing in its place, is kept."""
        for pid in pids:
            try:
                with AddressSpace(pid) as space:
                    now = space.regions()
            except PteMagicError:  # it has ended
                continue
            ends = np.array([region.end for region in now], np.uint64)
            kept = []
            for old in self._of.get(pid, []):
                at = int(np.searchsorted(ends, np.uint64(old.start), side="right"))
                if at == len(now) or now[at].start >= old.end:
                    kept.append(old)
            self._of[pid] = sorted([*now, *kept], key=lambda region: region.start)

    def of(self, pid: int) -> Sequence[Region]:
        """Return those of a process, ascending; none if it was never read."""
        return self._of.get(pid, [])


def frame(found: Faults, known: KnownRegions) -> pd.DataFrame:
    """Return the faults, one row each: time in ns since the begin, process, thread, address, region, kind, entries."""
    records = found.records
    here = kernel.here()
    before = fault_kinds.decoded(records["before"], records["level_before"], here)
    after = fault_kinds.decoded(records["after"], records["level_after"], here)
    backing = np.zeros(len(records), np.uint8)
    region = np.full(len(records), _GONE, object)
    for pid in np.unique(records["pid"]).tolist():
        rows = np.flatnonzero(records["pid"] == pid)
        address = np.ascontiguousarray(records["address"][rows])
        backing[rows] = fault_kinds.backings(known.of(pid), address)
        region[rows] = _names(known.of(pid), address)
    kind = fault_kinds.kinds(before, after, backing, np.ascontiguousarray(records["flags"]))
    kind = _not_guessed(kind, region == _GONE, records)
    read = records["level_after"] != NOT_READ
    names: list[str] = list(fault_kinds.KINDS)
    return pd.DataFrame(
        {
            "time": records["time"].astype(np.int64) - np.int64(found.start),
            "pid": records["pid"],
            "thread": records["tid"],
            "address": records["address"],
            "region": pd.Categorical(region),
            "kind": pd.Categorical([names[code] for code in kind.tolist()]),
            "bytes": _missing(fault_kinds.brought(kind, after), read),
            "ns": _missing(records["ns"].astype(np.uint64), records["ns"] != 0),
            "major": records["flags"] & MAJOR != 0,
            "user": records["flags"] & USER != 0,
            "entry_before": _missing(records["before"], records["level_before"] != NOT_READ),
            "entry_after": _missing(records["after"], read),
            "source": pd.Categorical([found.source] * len(records)),
        }
    )


def _not_guessed(kind: NDArray[np.int8], gone: NDArray[np.bool_], records: NDArray[np.void]) -> NDArray[np.int8]:
    """Return kinds without those that follow from the region where that is not known: a new page may be of a file."""
    minor, major = (np.int8(fault_kinds.KINDS.index(name)) for name in ("minor", "major"))
    guessed = gone & (records["before"] == 0) & (records["after"] & np.uint64(1) != 0)
    return np.where(guessed, np.where(records["flags"] & MAJOR != 0, major, minor), kind)


def _names(regions: Sequence[Region], address: NDArray[np.uint64]) -> NDArray[np.object_]:
    names = np.array([region.name or _ANONYMOUS for region in regions] or [_GONE], object)
    start = np.array([region.start for region in regions], np.uint64)
    end = np.array([region.end for region in regions] or [0], np.uint64)
    at = np.searchsorted(start, address, side="right").astype(np.intp) - 1
    inside = (at >= 0) & (address < end[np.maximum(at, 0)])
    return np.asarray(np.where(inside, names[np.maximum(at, 0)], _GONE), object)


def _missing(values: NDArray[np.uint64], known: NDArray[np.bool_]) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(np.where(known, values, np.uint64(0)), np.asarray(~known))


def text(found: Faults, rows: pd.DataFrame, *, whole: bool = False) -> str:
    """Return a sentence about the faults, and a table of them by region and kind, the most frequent first.

    Args:
        found: The faults.
        rows: The result of `frame` for them.
        whole: All rows of the table, also of a long one.

    """
    width = screen.width()
    first = screen.fitted(sentence(found), width, style=screen.BOLD)
    table, below = _table(rows, whole=whole)
    notes = [*below, *(f"[{note}]" for note in found.notes)]
    return "\n".join([first, *table, *(screen.fitted(line, width) for line in notes)])


def sentence(found: Faults) -> str:
    """Return what happened in one line."""
    seconds = (found.stop - found.start) / 1e9
    if found.source == "rusage":
        return f"{found.minor:,} minor and {found.major:,} major faults in {seconds:.3g} s, as the kernel counts them"
    completed = found.completed
    major = int((found.records["flags"][completed] & MAJOR != 0).sum())
    minor, refused = int(completed.sum()) - major, int((~completed).sum())
    words = [f"{minor:,} minor and {major:,} major faults"]
    words += [f"{refused:,} that were refused or have not ended"] if refused else []
    words += [f"{found.lost:,} more for which there was no room"] if found.lost else []
    took = float(found.records["ns"].sum()) / 1e6
    spent = f", {took:,.3g} ms of them in the kernel" if took else ""
    return f"{', '.join(words)}, in {seconds:.3g} s{spent} (source {found.source})"


def _short(name: str) -> str:
    """Return the last part of a path, as `show` has it; data has all of it."""
    return name.rpartition("/")[2] if name.startswith("/") else name


def _table(rows: pd.DataFrame, *, whole: bool) -> tuple[list[str], list[str]]:
    """Return the lines of the table, and those below it."""
    if rows.empty:
        return [], []
    groups = rows.groupby(["region", "kind"], observed=True)
    made = groups.agg(faults=("address", "size"), bytes=("bytes", "sum"), ns=("ns", "sum"), known=("bytes", "count"))
    made = made.sort_values("faults", ascending=False).reset_index()
    rest = 0 if whole else max(len(made) - _ROWS, 0)
    made = made.iloc[: len(made) - rest]
    read = bool(made["known"].any())
    columns: dict[str, Sequence[str]] = {"faults": [f"{n:,}" for n in made["faults"].tolist()]}
    if read:
        columns["bytes"] = [size(int(n)) for n in made["bytes"].tolist()]
        columns["us"] = [f"{int(n) / 1e3:,.0f}" for n in made["ns"].tolist()]
    columns["kind"] = made["kind"].astype(str).tolist()
    columns["region"] = [_short(str(name)) for name in made["region"].tolist()]
    more = [f"[{rest:,} more rows: add --all]"] if rest else []
    table = fitted(columns, None, screen.width(), _RULES)
    return table.lines, table.notes(more)
