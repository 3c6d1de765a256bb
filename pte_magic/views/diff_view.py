"""The display of a difference: a headline with counts, the names of flipped bits, and the changed digits."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from pte_magic.dataframes.diff import flipped_bits
from pte_magic.dataframes.diff.columns import is_whole
from pte_magic.dataframes.diff.runs import merged
from pte_magic.dataframes.diff.words import MANY, NOT_LOOKED
from pte_magic.dataframes.runs import counts as entries_of
from pte_magic.dataframes.runs import is_counted
from pte_magic.errors import TargetError
from pte_magic.errors.escapes import visible
from pte_magic.text import screen
from pte_magic.text.units import counted, size
from pte_magic.views import frame_text, frame_view, html_table, pandas_table
from pte_magic.views.counts_and_runs import shown_as
from pte_magic.views.text_table import Rules
from pte_magic.views.value_words import MISSING

_ELSEWHERE = ("level_before", "level_after", "format_before", "format_after")
# The words say what became larger or smaller, and names of bits follow from the formats.
_WITHOUT_ENTRIES = (
    "state_before",
    "state_after",
    "pfn_before",
    "pfn_after",
)  # the entries say it, where they are known
_BITS = "flipped bits"
_WORDS = (_BITS, "change")
_ENTRIES = "before, after"
_LAST = ("change", _BITS, _ENTRIES, "before", "after", "size", "bytes", "level")  # of HTML
# Marks in what pandas escapes, to become elements of HTML: characters that have no meaning of their own.
_OPEN, _CLOSE, _JOIN, _JOIN_END, _LINE = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004"
_LONG = 30  # letters of a change, for which its column is wide, or it would take many lines
_CODE = '<code style="background: none; padding: 0; font-size: 100%">'  # all digits are as wide, also bold ones
_JOINED = '<span style="white-space: nowrap">'  # or a line would end between the sign and the name of a bit


def headline(diff: pd.DataFrame) -> str:
    """Return the line that counts changes: ``3 of 512 entries changed: 2 write-protected, 1 new page frame``."""
    weight, covered = entries_of(diff)
    code, said = pd.factorize(diff["change"])
    by_change = np.bincount(code, weight, len(said)).astype(int)
    counts: Counter[str] = Counter()
    changed = 0
    for change, n in zip(said, by_change, strict=True):
        if change not in NOT_LOOKED:
            changed += int(n)
            counts.update(dict.fromkeys(change.split(", "), int(n)))
    line = _changed(changed, diff.attrs)
    if counts:
        line += ": " + ", ".join(
            f"{n:,} {word if n == 1 else MANY.get(word, word)}" for word, n in counts.most_common()
        )
    for word in NOT_LOOKED:
        rows = np.asarray(diff["change"] == word)
        if rows.any():
            line += f"; {size(sum(map(int, covered[rows])))} {word}"
    return line


def _changed(changed: int, attrs: dict[Any, Any]) -> str:
    compared, of_two = attrs.get("compared"), attrs.get("processes")
    of_two = of_two if isinstance(of_two, (tuple, list)) else None  # whatever somebody put there
    names = f"{' and '.join(visible(str(name)) for name in of_two)}: " if of_two else ""
    verb = "changed" if not of_two else "differs" if changed == 1 else "differ"
    if compared is None or attrs.get("changed") != changed:  # somebody selected rows
        return f"{names}{counted(changed, 'entry', 'entries')} {verb}"
    if changed:
        return f"{names}{changed:,} of {counted(compared, 'entry', 'entries')} {verb}"
    if not compared:
        return "no address is in both frames"
    seen = attrs.get("seen")  # if that is not everything: what is as it was may look so only
    if of_two:
        return f"{names}nothing {seen} differs" if seen else f"{names}nothing differs"
    return f"nothing {seen} has changed" if seen else "nothing changed"


def _shown(diff: pd.DataFrame) -> tuple[pd.DataFrame, int | None, list[str]]:
    """Return the table of texts to show, the number of rows that pandas prints, and the lines below it."""
    notes = [f"[{frame_view.shape_of(diff)}]"]
    limit = pd.get_option("display.max_rows")
    rows = diff
    if limit and len(diff) > limit and not is_counted(diff):
        runs = _runs(diff)
        if len(runs) < len(diff):
            rows = runs
            notes.append(shown_as(len(runs)))
    rows, keep = frame_view.ends(rows)
    has_entries = bool(rows["before"].notna().any() or rows["after"].notna().any())
    hidden = [name for name in (*_ELSEWHERE, *(_WITHOUT_ENTRIES if has_entries else ())) if name in rows.columns]
    hidden += [name for name in rows.columns if name not in hidden and rows[name].isna().all()]
    table = frame_view.words(rows.drop(columns=hidden))
    if "flipped" in table.columns:
        with suppress(TargetError):  # somebody changed what tells of the format: their numbers are shown
            table["flipped"] = [found or MISSING for found in flipped_bits.names(rows)]
            table = table.rename(columns={"flipped": _BITS})
    return table, keep, notes


def _runs(diff: pd.DataFrame) -> pd.DataFrame:
    try:
        found: pd.DataFrame = merged(diff)
    except TargetError:  # as in `_shown`
        return diff
    return found


def _marked(before: str, after: str) -> tuple[str, str]:
    if len(before) != len(after):
        return before, after
    differ = [one != other for one, other in zip(before, after, strict=True)]
    marked = (
        "".join(f"{_OPEN}{x}{_CLOSE}" if d else x for x, d in zip(entry, differ, strict=True))
        for entry in (before, after)
    )
    return next(marked), next(marked)


def _unbroken(word: str) -> str:
    return f"{_JOIN}{word}{_JOIN_END}" if word[:1] == "-" and len(word) > 1 else word


def text(diff: pd.DataFrame) -> str:
    """Return a difference as text."""
    if not is_whole(diff):
        return frame_text.text(diff)
    first = pandas_table.sentences([headline(diff)], screen.BOLD)
    if not len(diff):
        return "\n".join(first)
    table, limit, notes = _shown(diff)
    found = pandas_table.fitted(table, limit, _rules(diff))
    return "\n".join([*first, *found.lines, *pandas_table.sentences(found.notes(notes))])


def _rules(diff: pd.DataFrame) -> Rules:
    """Return what gives way in a narrow terminal: first what other columns say, last the entry before."""
    leave = ["entries", "bytes"] if is_counted(diff) and (diff["entries"] == 1).all() else []
    return Rules([*leave, "level"], ("vaddr", "before", "after", *_WORDS), _WORDS, last=("before",))


def html(diff: pd.DataFrame) -> str | None:
    """Return a difference as HTML, or None if pandas was told not to.

    The entry after is below the one before, its changed digits in bold: beside it, it would be out of sight at 700 px.
    """
    if not pd.get_option("display.notebook_repr_html") or not is_whole(diff):
        return frame_view.html(diff)
    if not len(diff):
        return frame_view.paragraph([headline(diff)])
    table, limit, notes = _shown(diff)
    if {"before", "after"} <= set(table.columns):
        pairs = [_marked(*pair) for pair in zip(table["before"], table["after"], strict=True)]
        table[_ENTRIES] = [_LINE.join(pair) for pair in pairs]
        table = table.drop(columns=["before", "after"])
    last = [name for name in _LAST if name in table.columns]
    table = table[[*(name for name in table.columns if name not in last), *last]]  # the least important is out of sight
    if _BITS in table.columns:
        table[_BITS] = [" ".join(_unbroken(word) for word in str(words).split(" ")) for words in table[_BITS]]
    with pd.option_context("display.max_colwidth", None):  # words are never cut
        made = frame_view.html_table(table, limit)
    made = re.sub(f">([^<>]*{_LINE}[^<>]*)<", rf">{_CODE}\1</code><", made)
    marks = {_OPEN: "<b>", _CLOSE: "</b>", _JOIN: _JOINED, _JOIN_END: "</span>", _LINE: "<br>"}
    for mark, element in marks.items():
        made = made.replace(mark, element)
    if table["change"].astype(str).str.len().max() > _LONG:
        made = html_table.with_room(made, "change", "14em")
    return frame_view.paragraph([headline(diff)]) + made + frame_view.paragraph(notes)
