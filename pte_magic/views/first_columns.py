"""The columns of entries that a notebook shows first: where, what is there, who else maps it, and the bits as words."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.text.units import share
from pte_magic.views.counts_and_runs import ACCESSED
from pte_magic.views.one_address import SET
from pte_magic.views.text_table import JOINED, cell

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS, MAPPED_BY = "page flags that are set", "mapped by"

_FIRST = ("vaddr", "size", "entries", "level", "state", "kind", "pfn", "map_count")
_ASIDE = ("cache", "pkey", "mapped", "swap_type", "swap_offset", "node", "cgroup", "permissions", "page_flags")
_LAST = "entry"  # the words say what is in it
_FLAG = "kpf_"
_MANY = 1000  # entries of a run, of which a share says more than a number


def kinds_of_bits(frame: pd.DataFrame) -> tuple[tuple[str, list[Any], str], ...]:
    """Return for bits of entries, and for page flags: the heading, the columns, and the prefix of their names."""
    boolean = [name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.BooleanDtype)]
    flags = [name for name in boolean if str(name).startswith(_FLAG)]
    return (SET, [name for name in boolean if name not in flags], ""), (FLAGS, flags, _FLAG)


def without_parts(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return rows without the column that `counts_and_runs.shortened` adds, and what it says as a word for each row."""
    if ACCESSED not in frame.columns:
        return frame, [""] * len(frame)
    pairs = zip(frame[ACCESSED], frame["entries"], strict=True)
    words = [f"accessed{JOINED}{_part(some, of)}" if 0 < some < of else "" for some, of in pairs]
    return frame.drop(columns=ACCESSED), words


def _part(some: int, of: int) -> str:
    return f"{some}/{of}" if of < _MANY else share(some, of).replace(" ", JOINED)


def sets(frame: pd.DataFrame, in_part: Sequence[str]) -> dict[str, list[list[str]]]:
    """Return for each heading the names of the bits that are set, for each row; without headings that have no columns.

    Args:
        frame: The rows that are shown.
        in_part: The word for each row about a bit that only some of its entries have.

    """
    found = {}
    for heading, names, prefix in kinds_of_bits(frame):
        if not names:
            continue
        is_set = frame[names].fillna(value=False).astype(bool).to_numpy()
        shown = [str(name).removeprefix(prefix) for name in names]
        found[heading] = [list(compress(shown, row)) for row in is_set]
    for words, part in zip(found.get(SET, ()), in_part, strict=SET in found):
        if part:
            words.insert(words.index("dirty") if "dirty" in words else len(words), part)
    return found


def first(frame: pd.DataFrame, words: pd.DataFrame, in_part: Sequence[str]) -> pd.DataFrame:
    """Return the texts to show first.

    Args:
        frame: The rows that are shown.
        words: The text of each of their values.
        in_part: As for `sets`.

    """
    boolean = [name for _, names, _ in kinds_of_bits(frame) for name in names]
    # Without page tables among the rows, the size says which level it is.
    aside = {*boolean, *_ASIDE, *(("level",) if "size" in frame and not has_tables(frame) else ())}
    names = [name for name in _FIRST if name in frame.columns and name not in aside]
    names += [name for name in frame.columns if name not in {*names, *aside, _LAST}]
    made = words[names].rename(columns={"map_count": MAPPED_BY})
    at = sum(name in _FIRST for name in names)
    for name, rows in sets(frame, in_part).items():
        made.insert(at, name, [cell(row) for row in rows])
    if _LAST in frame.columns:
        made[_LAST] = words[_LAST]
    return made


def has_tables(frame: pd.DataFrame) -> bool:
    """Tell whether there are entries that point to page tables."""
    return "state" in frame.columns and bool((frame["state"] == "table").any())
