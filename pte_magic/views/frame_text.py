"""The display of a frame as text: it fits the screen, and says below the table what is the same in all of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.text import screen
from pte_magic.text.units import size
from pte_magic.views import (
    entry_text,
    first_columns,
    first_line,
    frame_view,
    hidden_digits,
    one_address,
    palette,
    pandas_table,
    strip,
    text_table,
)
from pte_magic.views.counts_and_runs import headline
from pte_magic.views.one_address import OTHERS, SET

if TYPE_CHECKING:
    import pandas as pd

_WORDS = (SET, OTHERS, first_columns.FLAGS)
_STATE = ("state", "kind")
_ASIDE = ("page_flags", "pfn", "cache", "pkey", "mapped", "node", "cgroup", "permissions")
_SIZES = {size(covers): look for covers, look in palette.SIZES.items()}


def text(frame: pd.DataFrame) -> str:
    """Return a frame as text, for a terminal: the bits that are set, by their names."""
    if frame_view.is_of_one_address(frame):
        values = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}
        return one_address.text(values, frame_view.leaf_of(frame), pandas_table.width())
    shown, notes = frame_view.worth_showing(frame)
    shown, limit = frame_view.ends(shown)
    shown, in_part = first_columns.without_parts(shown)
    above = []
    for line in first_line.lines(frame):
        above += pandas_table.sentences([line.words], screen.BOLD)
        if screen.is_terminal():
            above += strip.text(line.found, min(pandas_table.width(), screen.width()))
    above += pandas_table.sentences(headline(frame))
    leaf = frame_view.leaf_of(frame)
    bits_of_leaf = ["", entry_text.text(leaf, width=pandas_table.width())] if leaf else []
    return "\n".join([*above, *_table(frame, shown, limit, in_part, notes), *bits_of_leaf])


def _table(
    frame: pd.DataFrame, shown: pd.DataFrame, limit: int | None, in_part: list[str], below: list[str]
) -> list[str]:
    """Return the lines of the table, and those below it, also about what is not in it."""
    sets = first_columns.sets(shown, in_part)
    boolean = [name for _, names, _ in first_columns.kinds_of_bits(shown) for name in names]
    table = hidden_digits.mark(frame_view.words(shown.drop(columns=boolean)), shown, frame)
    whole = table.assign(**{name: [text_table.cell(words) for words in rows] for name, rows in sets.items()})
    rules = _rules(shown)
    found = pandas_table.fitted(whole, limit, rules)
    if not found.is_narrow or limit is not None or not whole.columns.is_unique:
        return [*found.lines, *pandas_table.sentences(found.notes(below))]
    notes = []
    for name, rows in sets.items():
        same = text_table.common(rows)
        if not same:
            table[name] = whole[name]
            continue
        notes.append(text_table.about_all(name, rows, same))
        rest = [[word for word in words if word not in same] for words in rows]
        if any(rest):
            table[OTHERS if name == SET else name] = text_table.cells_of(rest, rows)
    found = pandas_table.fitted(table, limit, rules)
    return [*found.lines, *pandas_table.sentences([*notes, *found.notes(below)])]


def _rules(shown: pd.DataFrame) -> text_table.Rules:
    """Return what gives way in a narrow terminal: first what other columns say, and what is the same in all rows."""
    names = set(shown.columns)
    leave = []
    if {"entries", "bytes"} <= names and (shown["entries"] == 1).all():
        leave += ["entries", "bytes"]
    if "size" in names and not first_columns.has_tables(shown):
        leave.append("level")
    if len(shown) > 1:
        leave += [name for name in ("state", "size") if name in names and len(shown[name].unique()) == 1]
    has_entries = "entry" in names and shown["entry"].notna().all()
    leave += [name for name in _ASIDE if has_entries or name != "pfn"]
    leave += [] if "bytes" in leave else ["bytes"]
    keep, last = ("vaddr", "entry", *_STATE, *_WORDS), (first_columns.FLAGS, "kind", "state")
    return text_table.Rules(leave, keep, _WORDS, last=last, style=_style)


def _style(name: str, text: str) -> str:
    """Return the colour of a cell: that of the strip, by the size of a page that is there, and else by its state."""
    if name == "size":
        look = _SIZES.get(text)
    elif name == "state" and text != "present":
        look = palette.STATES.get(text)
    else:
        return ""
    return palette.STYLES[look.ground] if look else ""
