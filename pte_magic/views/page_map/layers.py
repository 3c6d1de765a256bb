"""The data of a page map, as arrays: runs of entries of one category, and the places of the entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.dataframes.runs import is_counted
from pte_magic.errors import TargetError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from pte_magic.views.palette import Look

_NEEDED = ("vaddr", "size", "state")


class Category(NamedTuple):
    """The meaning of a colour, and its counts: entries, bytes, runs, bytes of the largest run."""

    name: str
    look: Look
    entries: int
    bytes: int
    runs: int
    largest: int


class Layer(NamedTuple):
    """One colouring of `n` entries in `m` runs; neighbouring runs differ in their code.

    Attributes:
        color: Its name: ``"state"``, ``"size"``, ``"contiguity"`` or a column of booleans.
        ends: The end of each run, counted in entries: ascending ``uint32[m]``; the last one is `n`.
        codes: Category of each run, ``uint8[m]``: an index into `categories`.
        categories: The categories that occur.
        title: The title of the map.
        unit: The noun for its entries: singular and plural.
        listed: Its runs are worth a list.

    """

    color: str
    ends: NDArray[np.uint32]
    codes: NDArray[np.uint8]
    categories: tuple[Category, ...]
    title: str = "page map"
    unit: tuple[str, str] = ("entry", "entries")
    listed: bool = True


class Spans(NamedTuple):
    """The places of entries: consecutive entries of one size, ``uint64[k]`` and ``uint32[k]``.

    Attributes:
        vaddr: First address of each span.
        size: Bytes that each of its entries covers.
        ends: The end of each span, counted in entries; the last one is `n`.

    """

    vaddr: NDArray[np.uint64]
    size: NDArray[np.uint64]
    ends: NDArray[np.uint32]


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the entries that a map shows: all but those that point to page tables.

    Raises:
        TargetError: The frame has no addresses, or one row per run.

    """
    absent = [name for name in _NEEDED if name not in frame.columns]
    if absent:
        message = (
            f"a page map needs the columns {', '.join(_NEEDED)}, and this frame has no {', '.join(absent)}; "
            "make it of what %pte TARGET or pte_magic.walk(target) returns"
        )
        raise TargetError(message)
    if is_counted(frame):
        message = (
            "this frame has one row per run, and a page map needs one row per entry; "
            "make it of the frame before .runs()"
        )
        raise TargetError(message)
    tables = (frame["state"] == "table").to_numpy(np.bool_)
    return (
        frame[~tables] if tables.any() else frame.copy(deep=False)
    )  # what is changed in it later stays out of the map


def spans(frame: pd.DataFrame) -> Spans:
    """Return the places of the entries `shown`."""
    vaddr, size = frame["vaddr"].to_numpy(np.uint64), frame["size"].to_numpy(np.uint64)
    starts = starts_of(len(frame), ~follows(vaddr, size), size[1:] != size[:-1])
    return Spans(vaddr[starts], size[starts], ends_of(starts, len(frame)))


def follows(vaddr: NDArray[np.uint64], size: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell for each entry but the first whether it begins at the end of the one before it."""
    found: NDArray[np.bool_] = vaddr[1:] == vaddr[:-1] + size[:-1]
    return found


def starts_of(n: int, *changes: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the starts of runs of `n` entries: the first entry, and each change, ``bool[n-1]``."""
    return np.append(0, np.flatnonzero(np.logical_or.reduce(changes)) + 1)[:n]


def ends_of(starts: NDArray[np.intp], n: int) -> NDArray[np.uint32]:
    """Return the ends of runs with these starts, of `n` entries."""
    return np.append(starts[1:], [n][: len(starts)]).astype(np.uint32)
