"""The columns of entries that a notebook shows first: where, what is there, who else maps it, and the bits as words."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.views.one_address import SET
from pte_magic.views.value_words import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS, MAPPED_BY = "page flags that are set", "mapped by"

_FIRST = ("vaddr", "size", "entries", "bytes", "level", "state", "kind", "pfn", "map_count")
_ASIDE = ("cache", "pkey", "mapped", "swap_type", "swap_offset", "node", "cgroup", "permissions", "page_flags")
_LAST = "entry"  # the words say what is in it
_FLAG = "kpf_"


def bits_of(frame: pd.DataFrame) -> list[Any]:
    """Return the columns of bits of entries."""
    return [name for name in _boolean(frame) if not str(name).startswith(_FLAG)]


def set_in(frame: pd.DataFrame, names: Sequence[Any], prefix: str = "") -> list[str]:
    """Return the names of those bits that are set, for each row as one text, without a prefix."""
    is_set = frame[list(names)].fillna(value=False).astype(bool).to_numpy()
    shown = [str(name).removeprefix(prefix) for name in names]
    return [" ".join(compress(shown, row)) or MISSING for row in is_set]


def first(frame: pd.DataFrame, words: pd.DataFrame) -> pd.DataFrame:
    """Return the texts to show first.

    Args:
        frame: The rows that are shown.
        words: The text of each of their values.

    """
    bits, flags = bits_of(frame), [name for name in _boolean(frame) if str(name).startswith(_FLAG)]
    # Without page tables among the rows, the size says which level it is.
    aside = {*bits, *flags, *_ASIDE, *(("level",) if "size" in frame and not _has_tables(frame) else ())}
    names = [name for name in _FIRST if name in frame.columns and name not in aside]
    names += [name for name in frame.columns if name not in {*names, *aside, _LAST}]
    made = words[names].rename(columns={"map_count": MAPPED_BY})
    at = sum(name in _FIRST for name in names)
    for name, those, prefix in ((SET, bits, ""), (FLAGS, flags, _FLAG)):
        if those:
            made.insert(at, name, set_in(frame, those, prefix))
    if _LAST in frame.columns:
        made[_LAST] = words[_LAST]
    return made


def _boolean(frame: pd.DataFrame) -> list[Any]:
    return [name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.BooleanDtype)]


def _has_tables(frame: pd.DataFrame) -> bool:
    return "state" in frame.columns and bool((frame["state"] == "table").any())
