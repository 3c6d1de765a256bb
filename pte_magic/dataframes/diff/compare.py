"""`compare`: the rows of a difference, one per piece of addresses that changed, with words for the change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.arrays import IntegerArray

from pte_magic.dataframes import row_kernels
from pte_magic.dataframes.diff import pieces
from pte_magic.dataframes.diff.change_text import told
from pte_magic.dataframes.diff.pairs import Ground, alike, processes, taken
from pte_magic.dataframes.diff.values import codes, entries
from pte_magic.dataframes.diff.words import NOT_LOOKED
from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.errors import TargetError
from pte_magic.formats.field import STATES
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.dataframes.diff.pieces import Pieces, Rows, Side
    from pte_magic.formats.kernel import Kernel

_LEVELS: Any = pd.CategoricalDtype(list(LEVELS), ordered=True)
_STATES: Any = pd.CategoricalDtype(list(STATES))
_NONE = STATES.index("none")


def compare(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `pte_magic.api.pte_diff.PteDiff`, and the numbers of compared and changed entries."""
    ends, tables = pieces.side(before, "before")
    ends_after, tables_after = pieces.side(after, "after")
    kernel, kernel_after = _kernels(before, after)
    before, after = alike(before, after, kernel, kernel_after)
    ground, compared = _ends(before, after, ends, ends_after)
    found = _changed(ground)
    if len(tables.row) or len(tables_after.row):
        laid = pieces.tables(tables, tables_after)
        compared += int(((laid.before >= 0) & (laid.after >= 0)).sum())
        ground = Ground(
            before,
            after,
            laid,
            np.arange(len(laid.first)),
            added=pieces.shows_none(laid, ends, laid.before),
            removed=pieces.shows_none(laid, ends_after, laid.after),
        )
        found = pd.concat([_changed(ground), found])
        # As a walk does: on the way down to an address, the upper levels first.
        order = np.lexsort((codes(found, "level"), found["vaddr"].to_numpy()))
        found = found.iloc[order].reset_index(drop=True)
    for name, of in (("format_before", kernel), ("format_after", kernel_after)):
        found[name] = row_kernels.column(of, len(found)) if of else pd.Categorical([None] * len(found))
    told = row_kernels.attrs(of) if (of := kernel_after or kernel) else {}
    found.attrs = {name: told[name] for name in ("format", "encryption_mask") if name in told}  # what names the bits
    if seen := _seen(before, after, kernel, kernel_after):
        found.attrs["seen"] = seen
    if of_two := processes(before, after):
        found.attrs["processes"] = of_two
    found.attrs |= {"compared": compared, "changed": int((~found["change"].isin(NOT_LOOKED)).sum())}
    return found


def _seen(before: pd.DataFrame, after: pd.DataFrame, *kernels: Kernel | None) -> str:
    """Return in words which part of entries two frames can compare; empty if it is all of each entry.

    A part that only one of them shows cannot be compared.
    """
    bare = [frame for frame in (before, after) if _has_bare(frame)]
    walkers = {str(name) for frame in bare if "walker" in frame.columns for name in frame["walker"].dropna().unique()}
    if bare:
        return "that pagemap shows" if "pagemap" in walkers else "that is known without raw entries"
    hidden = any(of is not None and of.frames_hidden for of in kernels)
    return "that is known without page frame numbers" if hidden else ""


def _has_bare(frame: pd.DataFrame) -> bool:
    return bool((~entries(frame)[1]).any())


def _kernels(before: pd.DataFrame, after: pd.DataFrame) -> tuple[Kernel | None, Kernel | None]:
    """Return the kernels of the two frames, None where nothing depends on it.

    Raises:
        TargetError: A frame is of several kernels or of an unknown one, or the two have different formats.

    """
    found: list[Kernel | None] = []
    for frame, when in ((before, "before"), (after, "after")):
        try:
            found.append(row_kernels.of_all(frame) if len(frame) else None)
        except TargetError as error:
            if len(row_kernels.known(frame)[1]) == 1 and not entries(frame)[1].any():
                found.append(None)
                continue
            message = f"the frame {when} cannot be compared: {error}"
            raise TargetError(message) from None
    one, other = found
    if one and other and one.format is not other.format:
        message = f"the frame before has entries of {one.format.name}, the frame after of {other.format.name}; "
        message += "compare frames of one format"
        raise TargetError(message)
    return one, other


def _ends(before: pd.DataFrame, after: pd.DataFrame, ends: Side, ends_after: Side) -> tuple[Ground, int]:
    """Match the entries at which walks ended; return also the number of those in both frames."""
    laid = pieces.pieces(ends, ends_after)
    both = (laid.before >= 0) & (laid.after >= 0)
    keep = ~(both & _same(before, after, laid))
    for frame, row in ((before, laid.before), (after, laid.after)):
        keep &= both | ~_sticks_out(frame, row, both)
    compared = int(both.sum())
    laid = laid.of(keep)
    starts = _starts(after, laid)
    return Ground(before, after, laid, starts), compared - (len(laid.first) - len(starts))


def _same(before: pd.DataFrame, after: pd.DataFrame, laid: Pieces) -> NDArray[np.bool_]:
    """Tell which pieces certainly did not change: raw entry and level are the same."""
    (raw, known), (raw_after, known_after) = entries(before), entries(after)
    found: NDArray[np.bool_] = taken(known, laid.before, 0) & taken(known_after, laid.after, 0)
    found &= taken(raw, laid.before, 0) == taken(raw_after, laid.after, 0)
    found &= taken(codes(before, "level"), laid.before) == taken(codes(after, "level"), laid.after)
    return found


def _sticks_out(frame: pd.DataFrame, row: Rows, both: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which pieces lie in an empty entry that covers more addresses than the other frame."""
    empty = codes(frame, "state") == _NONE
    shared = np.zeros(len(frame), np.bool_)
    shared[row[both]] = True
    found: NDArray[np.bool_] = taken(empty & shared, row, 0)
    return found


def _starts(after: pd.DataFrame, laid: Pieces) -> Rows:
    """Return the starts of rows of the difference: pieces that became one larger entry are one row."""
    joined = (laid.before >= 0) & (laid.after >= 0) & (taken(codes(after, "state"), laid.after) != _NONE)
    joined &= taken(after["size"].to_numpy(), laid.after, 0) > laid.size
    goes_on = joined[1:] & joined[:-1] & (laid.after[1:] == laid.after[:-1])
    goes_on &= laid.first[1:] == laid.first[:-1] + laid.size[:-1]
    return np.flatnonzero(np.append(np.ones(min(len(joined), 1), np.bool_), ~goes_on))


def _changed(ground: Ground) -> pd.DataFrame:
    key, words = told(ground)
    rows = np.flatnonzero(np.array([bool(said) for said in words])[key])
    raw = ground.raw
    before, known, after, known_after = raw.before[rows], raw.known[rows], raw.after[rows], raw.known_after[rows]
    level, state, frames = ground.level, ground.state, ground.frames[0]
    smaller = (ground.first(ground.covers.after) == ground.size) | (level.before < 0) | (ground.count > 1)
    columns = {
        "vaddr": ground.first(ground.laid.first)[rows],
        "size": ground.size[rows],
        "level": _category(np.where(smaller & (level.after >= 0), level.after, level.before)[rows], _LEVELS),
        "before": IntegerArray(before, ~known),
        "after": IntegerArray(after, ~known_after),
        "flipped": IntegerArray(before ^ after, ~(known & known_after)),
        "change": pd.array(words, dtype=TEXT).take(key[rows]),
        "state_before": _category(state.before[rows], _STATES),
        "state_after": _category(state.after[rows], _STATES),
        "pfn_before": _number(frames.before[rows]),
        "pfn_after": _number(frames.after[rows]),
        "level_before": _category(level.before[rows], _LEVELS),
        "level_after": _category(level.after[rows], _LEVELS),
    }
    return pd.DataFrame(columns)


def _category(codes: NDArray[Any], dtype: Any) -> Any:
    return pd.Categorical.from_codes(codes, dtype=dtype)


def _number(values: NDArray[Any]) -> IntegerArray:
    missing: NDArray[np.bool_] = values < 0
    return IntegerArray(values.astype(np.uint64), missing)
