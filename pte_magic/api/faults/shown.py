"""The display of a ledger: which lines are shown, their figures, and the sentence above them."""

from __future__ import annotations

import linecache
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.api.faults import sums
from pte_magic.events.fault_kinds import KINDS
from pte_magic.events.totals import Rusage
from pte_magic.views.faults_shown import Group, LineRow, MemoryRow, Shown, SourceRows, sentence
from pte_magic.views.faults_timeline import Marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.api.faults.ledger import Ledger

_WHOLE = 60  # lines of a cell that is shown as a whole
_MORE_ROOM = "type a larger --max or --buffer (in Python most or buffer)"
_NONE = "no line of yours: Python, other threads, and this package"


def shown(of: Ledger, seconds: float, cell: str, notes: Sequence[str]) -> Shown:
    """Return the display.

    Args:
        of: The ledger.
        seconds: The time of the block.
        cell: The file of the cell, which is shown as a whole; empty if it is not one.
        notes: Sentences that go below.

    """
    lines = sums.by_line(of)
    has_records = len(of.seen.records) > 0
    faults, major = int(lines["faults"].sum()), int(lines["major"].sum())
    is_counted = of.seen.source == Rusage.name
    if is_counted:  # of all threads, and without lines, too
        major, faults = of.seen.major, of.seen.minor + of.seen.major
    ns = int(of.seen.records["ns"].sum())
    knows = frozenset({*(["bytes"] if of.reads else []), *(["ns"] if of.measures else [])})
    lost = of.seen.lost
    more = [f"{lost:,} more faults were lost: there was no room for them; {_MORE_ROOM}"] if lost else []
    groups = _groups_of_lines(lines, cell) if is_counted else _groups(of, cell)
    return Shown(
        sentence(faults, major, ns, seconds, groups, lost=lost),
        _sources(lines, cell, faults),
        _memory(of) if has_records else [],
        knows,
        [*more, f"source: {of.seen.source}", *notes],
        _marks(of) if has_records else None,
    )


def title(file: str) -> str:
    """Return what people call a file: of a cell, as ``In[5]``."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        known = shell.compile.format_code_name(file)
        if known is not None and len(known) > 1:
            return str(known[1])
    return Path(file).name


def _sources(lines: pd.DataFrame, cell: str, faults: int) -> list[SourceRows]:
    by_file: defaultdict[str, dict[int, LineRow]] = defaultdict(dict)
    none = LineRow(0, _NONE, 0, 0, 0)
    for row in lines.to_dict("records"):
        figures = (int(row["faults"]), _number(row.get("bytes")), _number(row.get("ns")))
        if pd.isna(row["line"]):
            none = LineRow(0, _NONE, *figures)
        else:
            number = int(row["line"])
            code = linecache.getline(str(row["file"]), number).rstrip()
            by_file[str(row["file"])][number] = LineRow(number, code, *figures)
    told = sum(row.faults for rows in by_file.values() for row in rows.values())
    none = none._replace(faults=max(none.faults, faults - told))
    source = linecache.getlines(cell) if cell else []
    while source and not source[-1].strip():  # what an editor leaves below the last line
        source = source[:-1]
    if source and (len(source) <= _WHOLE or not by_file[cell]):
        for number, code in enumerate(source[:_WHOLE], 1):
            by_file[cell].setdefault(number, LineRow(number, code.rstrip(), 0, 0, 0))
    order = sorted(by_file, key=lambda file: (file != cell, -sum(row.faults for row in by_file[file].values())))
    made = [SourceRows(title(file), [by_file[file][number] for number in sorted(by_file[file])]) for file in order]
    if none.faults:
        made.append(SourceRows("", [none]))
    return made


def _memory(of: Ledger) -> list[MemoryRow]:
    kinds = dict(zip(of.owned.names, sums.kinds_by_memory(of), strict=True))
    return [
        MemoryRow(
            row["memory"],
            bool(row["variable"]),
            int(row["faults"]),
            _number(row["bytes"]),
            _number(row["ns"]),
            [Group(number, kind, "", "") for kind, number in kinds[row["memory"]]],
        )
        for row in sums.by_variable(of).to_dict("records")
    ]


def _number(value: Any) -> int:
    return 0 if value is None or pd.isna(value) else int(value)


def _groups(of: Ledger, cell: str) -> list[Group]:
    """Return the faults by kind, memory and line, the largest group first."""
    width = len(of.owned.names) or 1
    places = len(of.lines.places) + 1 if of.lines is not None else 1
    key = (of.kind.astype(np.int64) * width + of.owned.name) * places + (of.place + 1)
    keys, counts = np.unique(key, return_counts=True)
    made = []
    for at in np.argsort(-counts, kind="stable")[:8].tolist():
        rest, place = divmod(int(keys[at]), places)
        kind, name = divmod(rest, width)
        line = ""
        if place and of.lines is not None:
            where = of.lines.places[place - 1]
            line = _line(where.file, where.line, cell)
        made.append(Group(int(counts[at]), KINDS[kind], of.owned.names[name], line))
    return made


def _groups_of_lines(lines: pd.DataFrame, cell: str) -> list[Group]:
    known = lines[lines["line"].notna()].sort_values("faults", ascending=False, kind="stable")
    return [
        Group(int(row["faults"]), "minor", "", _line(row["file"], int(row["line"]), cell))
        for row in known.head(8).to_dict("records")
    ]


def _line(file: str, line: int, cell: str) -> str:
    return f"line {line}" if file == cell or not cell else f"line {line} of {title(file)}"


def _marks(of: Ledger) -> Marks:
    time = of.seen.records["time"].astype(np.int64) - np.int64(of.seen.start)
    return Marks(
        time,
        np.ascontiguousarray(of.seen.records["address"]),
        of.owned.name,
        of.owned.names,
        of.kind,
        KINDS,
        max(of.seen.stop - of.seen.start, 1),
    )
