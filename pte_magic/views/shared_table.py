"""The display of `Shared`: lines with its sums, the rows of the largest parts, and the strips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.errors.cut import cut
from pte_magic.text.units import counted, size
from pte_magic.views import frame_text, frame_view, pandas_table, shared_strips
from pte_magic.views.text_table import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.views.shared_strips import Strips

BYTES = ("bytes", "resident", "shared", "copied_here", "copied_there", "copied_either", "never_shared", "swapped")
"""The columns that are bytes."""

_COPIED = ("copied_here", "copied_there", "copied_either")
_ALWAYS = ("shared", "copied_here", "copied_there")  # also where they are 0 in all rows
_IN_TEXT = ("name", "pid", "shared", "copied_here", "copied_there", "copied_either", "never_shared")
_IN_HTML = (*_IN_TEXT, "swapped", "resident", "bytes", "type", "vaddr")
_LONGEST = {"name": 28, "type": 40}
_LEFT_OUT = 4  # processes that are named, of those that were not compared


def text(shared: pd.DataFrame, above: Sequence[str], below: Sequence[str], strips: Strips | None) -> str:
    """Return the table as text; a selection of columns as any frame."""
    if not is_whole(shared):
        return frame_text.text(shared)
    table, more = _shown(shared, _IN_TEXT)
    same = {name: "0 B" for name in _ALWAYS[1:] if not shared[name].any()}
    if len(pids := shared["pid"].unique()) == 1:
        same["pid"] = f"{pids[0]}"
    leave = dict.fromkeys([*same, "never_shared", "copied_either", "pid"])
    rules = Rules([*leave], ("name", "shared"), cut=("name",))
    found = pandas_table.fitted(table, None, rules, index=False)
    if names := [name for name in found.left_out if name not in same]:
        more.append(f"no room here for {', '.join(names)}")
    if names := [f"{name} {same[name]}" for name in found.left_out if name in same]:
        more.append(f"in all rows: {', '.join(names)}")
    drawn = shared_strips.text(strips, pandas_table.width()) if strips else []
    lines = [*pandas_table.sentences(above), *found.lines]
    return "\n".join([*lines, *pandas_table.sentences([*more, *drawn, *below])])


def html(shared: pd.DataFrame, above: Sequence[str], below: Sequence[str], strips: Strips | None) -> str | None:
    """Return the table as HTML; None if pandas was told not to."""
    if not pd.get_option("display.notebook_repr_html") or not is_whole(shared):
        return frame_view.html(shared)
    table, more = _shown(shared, _IN_HTML)
    made = frame_view.html_table(table, None, "table of shared memory", index=False)
    drawn = shared_strips.html(strips) if strips else ""
    return "".join([frame_view.paragraph(list(above)), drawn, made, frame_view.paragraph([*more, *below])])


def is_whole(shared: pd.DataFrame) -> bool:
    """Tell whether a frame has all columns, and rows."""
    return len(shared) > 0 and shared.columns.is_unique and set(_IN_HTML) <= set(shared.columns)


def totals(shared: pd.DataFrame) -> str:
    """Return the sums over all rows in words."""
    sums = {name: int(shared[name].sum()) for name in BYTES}
    who = [("copied_here", "written here"), ("copied_there", "there"), ("copied_either", "here or there")]
    by = ", ".join(f"{size(sums[name])} {words}" for name, words in who if sums[name])
    parts = [f"{size(sums['shared'])} shared", f"{size(copied(shared))} copied since{f' ({by})' if by else ''}"]
    parts += [f"{size(sums['never_shared'])} never shared"] if sums["never_shared"] else []
    parts += [f"{size(sums['swapped'])} swapped out"] if sums["swapped"] else []
    return "; ".join(parts)


def copied(shared: pd.DataFrame) -> int:
    """Return the bytes of all copies in all rows: one beside several processes counts for each of these."""
    return sum(int(shared[name].sum()) for name in _COPIED)


def left_out(why: dict[int, str]) -> list[str]:
    """Return a line for each process that was not compared; of many, for the first ones."""
    lines = [f"left out: {why[pid]}" for pid in list(why)[:_LEFT_OUT]]
    more = len(why) - len(lines)
    if more:
        lines[-1] += f" (and {counted(more, 'more process', 'more processes')}, see attrs['left_out'])"
    return lines


def _shown(shared: pd.DataFrame, names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of texts to show, the rows with most copies first, and the line about the others."""
    most = pandas_table.most_rows(len(shared))
    kept = [name for name in names if name not in BYTES or name in _ALWAYS or shared[name].any()]
    if "type" in kept and not shared["type"].astype(bool).any():
        kept.remove("type")
    shown: Any = shared[kept].iloc[:most].copy()
    for name, longest in _LONGEST.items():
        if name in kept:
            shown[name] = [cut(str(value), longest, in_middle=True) for value in shown[name]]
    where = [f"{vaddr:#x}" for vaddr in shared["vaddr"].iloc[:most].tolist()]
    shown["name"] = [name or at for name, at in zip(shown["name"], where, strict=True)]
    table = pd.DataFrame(frame_view.words(shown))
    more: list[str] = []
    if rest := len(shared) - most:
        said = f"{counted(rest, 'more row')} with {size(copied(shared.iloc[most:]))} copied; "
        more = [said + "pandas.options.display.max_rows = None shows all rows"]
    return table, more
