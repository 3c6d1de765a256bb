"""The ledger of faults: one row per fault, with its line, its variable and its kind, as a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.errors.escapes import visible
from pte_magic.events import fault_kinds
from pte_magic.events.fault_record import MAJOR, NOT_READ, REFUSED, UNFINISHED, USER
from pte_magic.formats import kernel
from pte_magic.formats.field import STATES
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.api.faults.owners_of_faults import Owned, Surroundings
    from pte_magic.events.fault_record import Faults
    from pte_magic.events.line_records import Lines

COLUMNS = (
    *("time", "line", "address", "variable", "index", "kind", "bytes", "ns", "thread", "memory"),
    *("entry_before", "entry_after", "function", "file", "library", "major", "user", "counted", "pid", "source"),
)
"""The columns of a ledger; where there is no room for all, the last ones give way."""
_NONE = STATES.index("none")


class Ledger(NamedTuple):
    """The faults of a block, with all that was found out about each.

    Attributes:
        seen: The faults.
        lines: The lines that ran; None if they were not traced.
        place: The line of each fault, an index into the places of `lines`, ``int32[n]``; -1 for none.
        is_library: Whether its thread runs no Python, so that the line is the call under way, ``bool[n]``.
        kind: Indices into `fault_kinds.KINDS`, ``int8[n]``.
        bytes: The bytes that each brought, ``uint64[n]``.
        owned: The owners of their memory.

    """

    seen: Faults
    lines: Lines | None
    place: NDArray[np.int32]
    is_library: NDArray[np.bool_]
    kind: NDArray[np.int8]
    bytes: NDArray[np.uint64]
    owned: Owned

    @property
    def reads(self) -> bool:
        """True if the source reads entries, so that bytes and kinds are known."""
        return bool((self.seen.records["level_after"] != NOT_READ).any())

    @property
    def measures(self) -> bool:
        """True if the source measures how long faults take."""
        return bool((self.seen.records["ns"] != 0).any())


def ledger(seen: Faults, lines: Lines | None, around: Surroundings) -> Ledger:
    """Find out the line, the kind and the owner of each fault."""
    records = seen.records
    n = len(records)
    address = np.ascontiguousarray(records["address"])
    place, is_library = np.full(n, -1, np.int32), np.zeros(n, np.bool_)
    if lines is not None and n:
        place, is_library = lines.at(np.ascontiguousarray(records["time"]), np.ascontiguousarray(records["tid"]))
    here = kernel.here()
    before = fault_kinds.decoded(records["before"], records["level_before"], here)
    after = fault_kinds.decoded(records["after"], records["level_after"], here)
    backing = fault_kinds.backings(around.regions, address)
    kind = fault_kinds.kinds(before, after, backing, np.ascontiguousarray(records["flags"]))
    begins = (before.state == _NONE) & (after.state > _NONE)
    return Ledger(seen, lines, place, is_library, kind, fault_kinds.brought(kind, after), around.of(address, begins))


def within(of: Ledger, ranges: list[tuple[int, int]] | None) -> Ledger:
    """Return the faults in some ranges of addresses only; all if these are None."""
    if ranges is None:
        return of
    page = of.seen.records["address"] & ~np.uint64(PAGE_SIZE - 1)
    keep = np.zeros(len(page), np.bool_)
    for start, end in ranges:
        keep |= (page < np.uint64(end)) & (page + np.uint64(PAGE_SIZE) > np.uint64(start))
    rows = np.flatnonzero(keep)
    element = [of.owned.element[row] for row in rows.tolist()]
    seen = type(of.seen)(**{**vars(of.seen), "records": of.seen.records[rows]})
    return of._replace(
        seen=seen,
        place=of.place[rows],
        is_library=of.is_library[rows],
        kind=of.kind[rows],
        bytes=of.bytes[rows],
        owned=of.owned._replace(name=of.owned.name[rows], element=element),
    )


def frame(of: Ledger) -> pd.DataFrame:
    """Return the ledger as a DataFrame: see `SeenFaults.frame`."""
    records, owned = of.seen.records, of.owned
    places = [] if of.lines is None else of.lines.places
    none = of.place < 0
    line = np.array([place.line for place in places] or [0], np.int64)[np.maximum(of.place, 0)]
    flags = records["flags"]
    made = pd.DataFrame(
        {
            "time": records["time"].astype(np.int64) - np.int64(of.seen.start),
            "line": pd.arrays.IntegerArray(np.where(none, 0, line).astype(np.int64), none.copy()),
            "function": _category([visible(place.function) for place in places], of.place),
            "file": _category([visible(place.file) for place in places], of.place),
            "thread": records["tid"],
            "library": of.is_library,
            "address": records["address"],
            "variable": _category(
                owned.names[: owned.variables], np.where(owned.name < owned.variables, owned.name, -1)
            ),
            "index": pd.array(owned.element, TEXT),
            "memory": _category(owned.names, owned.name),
            "kind": _category(list(fault_kinds.KINDS), of.kind),
            "major": flags & MAJOR != 0,
            "user": flags & USER != 0,
            "counted": flags & (REFUSED | UNFINISHED) == 0,
            "entry_before": _masked(records["before"], records["level_before"] == NOT_READ),
            "entry_after": _masked(records["after"], records["level_after"] == NOT_READ),
            "bytes": _masked(of.bytes, records["level_after"] == NOT_READ),
            "ns": _masked(records["ns"].astype(np.uint64), records["ns"] == 0),
            "pid": records["pid"],
        }
    )
    made["source"] = _category([of.seen.source], np.zeros(len(made), np.int32))
    return made[list(COLUMNS)]


def _category(names: list[str], code: NDArray[Any]) -> Any:
    """Return texts by their codes; the same text may have several, and -1 is a missing value."""
    unique = list(dict.fromkeys(names))
    at = np.array([unique.index(name) for name in names] or [-1], np.int32)
    categorical: Any = pd.Categorical  # the stubs have other dtypes
    return categorical.from_codes(np.where(code < 0, -1, at[np.maximum(code, 0)]), unique)


def _masked(values: NDArray[np.uint64], missing: NDArray[np.bool_]) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(np.where(missing, np.uint64(0), values), np.asarray(missing))
