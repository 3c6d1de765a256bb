"""Sums of faults: by line, and by variable."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.errors.escapes import visible
from pte_magic.events.fault_kinds import KINDS
from pte_magic.events.fault_record import MAJOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.api.faults.ledger import Ledger
    from pte_magic.events.line_records import Lines

_KEYS = ["file", "line"]


def by_line(of: Ledger) -> pd.DataFrame:
    """Return the sums by line: see `SeenFaults.by_line`."""
    lines = of.lines
    places = [] if lines is None else lines.places
    records = of.seen.records
    if lines is not None and not len(records) and lines.counts:
        return _counted(of, lines)
    code, n = of.place + 1, len(places) + 1  # the first is of no line
    flags = records["flags"]
    sums: dict[str, NDArray[Any]] = {
        "faults": np.bincount(code, minlength=n),
        "major": np.bincount(code, flags & MAJOR != 0, n),
        "bytes": np.bincount(code, of.bytes, n),
        "ns": np.bincount(code, records["ns"], n),
    }
    return _sorted(of, n, sums)


def _counted(of: Ledger, lines: Lines) -> pd.DataFrame:
    n = len(lines.places) + 1
    minor, major = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for place, (one, other) in lines.counts.items():
        minor[place + 1], major[place + 1] = one, other
    return _sorted(of, n, {"faults": minor + major, "major": major})


def _sorted(of: Ledger, n: int, sums: dict[str, NDArray[Any]]) -> pd.DataFrame:
    places = [] if of.lines is None else of.lines.places
    made = pd.DataFrame({name: values.astype(np.uint64) for name, values in sums.items()}, index=range(n))
    number = np.array([0, *(place.line for place in places)], np.int64)
    made.insert(0, "line", pd.Series(pd.arrays.IntegerArray(number, number == 0)))
    made.insert(0, "function", pd.array([None, *(visible(place.function) for place in places)], TEXT))
    files = {visible(place.file): place.file for place in places}  # a name may have any bytes
    made.insert(0, "file", pd.array([None, *(visible(place.file) for place in places)], TEXT))
    made = made[made["faults"] > 0]
    # A line of a generator or of a function that was defined twice belongs to several codes.
    whole = made.groupby(_KEYS, dropna=False, sort=False, as_index=False).agg(
        {"function": "first", **dict.fromkeys(sums, "sum")}
    )
    whole = _masked(whole, of)
    whole.insert(
        3,
        "code",
        pd.array(
            [_code(files.get(file, file), line) for file, line in zip(whole["file"], whole["line"], strict=True)], TEXT
        ),
    )
    return whole.sort_values(_KEYS, na_position="last", kind="stable", ignore_index=True)


def _masked(made: pd.DataFrame, of: Ledger) -> pd.DataFrame:
    """Return sums with missing values where the source does not know."""
    for name, known in (("bytes", of.reads), ("ns", of.measures)):
        if name in made:
            made[name] = made[name].astype("UInt64")
            if not known:
                made[name] = pd.array([pd.NA] * len(made), "UInt64")
    return made


def _code(file: object, line: object) -> str:
    if not isinstance(file, str) or pd.isna(line):  # type: ignore[call-overload]  # a number or NA
        return ""
    try:
        return linecache.getline(file, int(line)).strip()  # type: ignore[call-overload]  # a number, as it is not NA
    except ValueError:  # no file can have such a name
        return ""


def by_variable(of: Ledger) -> pd.DataFrame:
    """Return the sums by variable: see `SeenFaults.by_variable`."""
    owned, records = of.owned, of.seen.records
    n = len(owned.names)
    made = pd.DataFrame(
        {
            "variable": pd.array([*owned.names[: owned.variables], *[""] * (n - owned.variables)], TEXT),
            "memory": pd.array(owned.names, TEXT),
            "faults": np.bincount(owned.name, minlength=n).astype(np.uint64),
            "bytes": np.bincount(owned.name, of.bytes, n).astype(np.uint64),
            "ns": np.bincount(owned.name, records["ns"], n).astype(np.uint64),
            "kinds": pd.array([_words(row) for row in kinds_by_memory(of)], TEXT),
        }
    )
    made = made[made["faults"] > 0]
    return _masked(made.sort_values("faults", ascending=False, kind="stable", ignore_index=True), of)


def kinds_by_memory(of: Ledger) -> list[list[tuple[str, int]]]:
    """Return the kinds of faults of each memory with their numbers, the most frequent first."""
    counts = np.zeros((len(of.owned.names), len(KINDS)), np.int64)
    np.add.at(counts, (of.owned.name, of.kind), 1)
    order = np.argsort(-counts, axis=1, kind="stable")
    return [
        [(KINDS[at], int(row[at])) for at in places if row[at]]
        for row, places in zip(counts, order.tolist(), strict=True)
    ]


def _words(kinds: list[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds)
