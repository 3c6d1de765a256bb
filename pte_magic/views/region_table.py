"""The display of regions: a line with their sums, the largest ones, and how to see the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pte_magic.dataframes.by_region import AT_LEAST
from pte_magic.errors.cut import cut
from pte_magic.text import screen
from pte_magic.text.units import counted, size
from pte_magic.views import frame_text, frame_view, pandas_table
from pte_magic.views.counts_and_runs import all_rows
from pte_magic.views.text_table import Rules
from pte_magic.views.value_words import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable

# The first ones are asked for most: the others may be beyond the edge of a narrow window.
_ORDER = ("vaddr", "region", "resident", "huge_share", "swapped", "shared", "size", "permissions", "page_tables")
_LEAVE = ("page_tables", "shared", "swapped", "huge_share", "size")
_KEEP = ("vaddr", "region", "resident", "permissions")  # without which rows look alike
_SHARED = "shared"
_LONGEST = 28  # characters of a name
_CONSTANT = ("host", "pid")
_UNNAMED = "anonymous"
_SUMS: dict[str, Callable[[int], str]] = {
    "swapped": lambda found: f"{size(found)} swapped out" if found else "nothing swapped out",
    "shared": lambda found: f"{size(found)} shared" if found else "nothing shared",
    "page_tables": lambda found: f"{size(found)} of page tables",
}


def text(regions: pd.DataFrame, *notes: str) -> str:
    """Return regions as text, with more lines at the end; a selection of columns as any frame."""
    if not _is_whole(regions):
        return frame_text.text(regions)
    table, said = _shown(regions)
    found = pandas_table.fitted(table, None, _rules(table), index=False)
    first = pandas_table.sentences([_headline(regions)], screen.BOLD)
    return "\n".join([*first, *found.lines, *pandas_table.sentences(found.notes([*said, *notes]))])


def html(regions: pd.DataFrame, *notes: str) -> str | None:
    """Return regions as HTML, with more lines at the end; None if pandas was told not to."""
    if not pd.get_option("display.notebook_repr_html") or not _is_whole(regions):
        return frame_view.html(regions)
    table, said = _shown(regions)
    made = frame_view.html_table(table, None, "table of regions", index=False)
    return "".join([frame_view.paragraph([_headline(regions)]), made, frame_view.paragraph([*said, *notes])])


def _is_whole(regions: pd.DataFrame) -> bool:
    return len(regions) > 0 and regions.columns.is_unique and set(_ORDER) <= set(regions.columns)


def _headline(regions: pd.DataFrame) -> str:
    resident = int(regions["resident"].sum())
    huge = (regions["huge_share"] * regions["resident"]).sum()
    known = regions["huge_share"].notna() | (regions["resident"] == 0)
    on_huge = f" ({huge / resident:.1%} on huge pages)" if resident and known.all() else ""
    parts = [
        f"{counted(len(regions), 'region')}, {size(int(regions['size'].sum()))}: {size(resident)} resident{on_huge}",
        *(_sum(regions, name) for name in _SUMS),
    ]
    return "; ".join(filter(None, parts))


def _sum(regions: pd.DataFrame, name: str) -> str:
    """Return the words for the sum of a column; empty if nothing is known."""
    total = int(regions[name].sum())
    if regions[name].notna().all():
        return _SUMS[name](total)
    known = total + sum(_at_least(regions))
    return f"at least {_SUMS[name](known)}" if known and name == _SHARED else ""


def _at_least(regions: pd.DataFrame) -> list[int]:
    """Return what is known to be shared of each region of which not all is known; 0 for others."""
    if "pid" not in regions.columns:
        return [0] * len(regions)
    found = {(pid, vaddr): part for pid, vaddr, part in regions.attrs.get(AT_LEAST, ())}
    places = zip(regions["pid"].tolist(), regions["vaddr"].tolist(), strict=True)
    return [found.get(place, 0) for place in places]


def _shown(regions: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of texts to show, the largest regions first, and the lines below it."""
    most = pandas_table.most_rows(len(regions))
    at_least = _at_least(regions)
    nothing = [name for name in _SUMS if (regions[name].fillna(0) == 0).all()]  # the line above says so
    if any(at_least):
        nothing = [name for name in nothing if name != _SHARED]
    shown, notes = frame_view.telling(regions.drop(columns=nothing), frame_view.shape_of(regions), _CONSTANT)
    rest = regions["resident"].iloc[most:]
    if len(rest):
        more = f"{counted(len(rest), 'more region')} with {size(int(rest.sum()))} resident; "
        notes.insert(0, more + all_rows())
    names = [name for name in _ORDER if name in shown.columns]
    names += [name for name in shown.columns if name not in names]
    table = frame_view.words(frame_view.labelled(shown[names].iloc[:most]))
    table["region"] = [_short(name) for name in regions["region"].iloc[:most]]
    if _SHARED in table.columns and regions[_SHARED].isna().any() and not regions[_SHARED].isna().all():
        missing = regions[_SHARED].isna()
        table[_SHARED] = [
            f"≥ {size(known)}" if unknown and known else words
            for words, unknown, known in zip(table[_SHARED], missing, at_least, strict=False)
        ]
        if missing.iloc[: len(table)].any():
            notes.append(f"≥ and {MISSING} in shared: of some of its pages it is not known, as they changed meanwhile")
    return table, notes


def _rules(table: pd.DataFrame) -> Rules:
    """Return what gives way in a narrow terminal: first what is the same in all rows that have it."""
    constant = [name for name in table.columns if name not in _KEEP and len(set(table[name]) - {MISSING}) <= 1]
    return Rules(
        (*constant, *(name for name in _LEAVE if name not in constant)), _KEEP, cut=("region",), last=("permissions",)
    )


def _short(name: str) -> str:
    """Return the name of a file without its directory, as pmap does; of a long name, its beginning and its end."""
    return cut((name.rpartition("/")[2] if name.startswith("/") else name) or _UNNAMED, _LONGEST, in_middle=True)
