"""The colourings of a page map, and the entries that look alike in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pte_magic.dataframes.columns import pages, translated
from pte_magic.errors import TargetError
from pte_magic.errors.arguments import shown
from pte_magic.text import units
from pte_magic.views import palette
from pte_magic.views.page_map.layers import Category, Layer, ends_of, follows, starts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.views.palette import Look

_MAPPED = ("present", "protnone")  # the other states name no frame, or not that of memory in use


class _Found(NamedTuple):
    """The starts of runs, ``int64[m]``; the kind of each, ``int[m]``; names and looks of the kinds."""

    starts: NDArray[np.intp]
    codes: NDArray[Any]
    kinds: list[tuple[str, Look]]


def colors(frame: pd.DataFrame) -> list[str]:
    """Return the useful colourings of a frame."""
    found = ["state", "size"]
    if "pfn" in frame.columns and frame["pfn"].notna().any():
        found.append("contiguity")
    for name, dtype in frame.dtypes.items():
        if dtype.kind == "b" and str(name) not in found and (not len(frame) or frame[name].notna().any()):
            found.append(str(name))
    return found


def first(frame: pd.DataFrame, known: list[str], size: NDArray[np.uint64]) -> Layer:
    """Return the first colouring that distinguishes something, or else the states."""
    made = (layer(frame, color, size) for color in known)
    return next((found for found in made if len(found.categories) > 1), None) or layer(frame, known[0], size)


def chosen(color: Any, known: list[str]) -> str:
    """Return a colouring, if the frame has it.

    Raises:
        TargetError: It is not.

    """
    if isinstance(color, str) and color in known:
        return color
    why = "no such column of bits, or it is empty"
    if not isinstance(color, str):
        why = "that is not a name"
    elif color == "contiguity":
        why = "no page frame is visible here"
    message = f"cannot colour by {shown(color)}: {why}; choose one of {', '.join(known)}"
    raise TargetError(message)


def layer(frame: pd.DataFrame, color: str, size: NDArray[np.uint64]) -> Layer:
    """Return one of the `colors` of the entries `shown`, of which the map has so many bytes each."""
    make = {"state": _states, "size": _sizes, "contiguity": _contiguity}.get(color)
    found = make(frame) if make else _booleans(frame, color)
    return _counted(color, found, size)


def _states(frame: pd.DataFrame) -> _Found:
    states = pd.Categorical(frame["state"])
    names = [str(name) for name in states.categories]
    starts = starts_of(len(frame), states.codes[1:] != states.codes[:-1])
    kinds = [(name, palette.STATES.get(name, palette.OTHER)) for name in names]
    codes = states.codes[starts]
    return _Found(starts, np.where(codes < 0, len(names), codes), [*kinds, ("missing", palette.MISSING)])


def _sizes(frame: pd.DataFrame) -> _Found:
    # Unmapped addresses have no page, so the size of the hole is not a page size.
    size = np.where((frame["state"] == "none").to_numpy(np.bool_), 0, translated(frame))
    starts = starts_of(len(frame), size[1:] != size[:-1])
    found, codes = np.unique(size[starts], return_inverse=True)
    kinds = [
        (units.size(value), palette.SIZES.get(value, palette.OTHER)) if value else ("none", palette.NOTHING)
        for value in found.tolist()
    ]
    return _Found(starts, codes, kinds)


def _booleans(frame: pd.DataFrame, color: str) -> _Found:
    column = frame[color]
    values = np.where(column.isna(), 2, column.fillna(value=False).to_numpy(np.uint8))
    starts = starts_of(len(frame), values[1:] != values[:-1])
    kinds = [(color, palette.SET), (f"not {color}", palette.NOT_SET), ("missing", palette.MISSING)]
    return _Found(starts, np.array([1, 0, 2])[values[starts]], kinds)


def _contiguity(frame: pd.DataFrame) -> _Found:
    """Split where addresses or page frames are not consecutive."""
    vaddr, size = frame["vaddr"].to_numpy(np.uint64), frame["size"].to_numpy(np.uint64)
    pfn = frame["pfn"].to_numpy(np.uint64, na_value=0)
    framed = (frame["pfn"].notna() & frame["state"].isin(_MAPPED)).to_numpy(np.bool_)
    goes_on = follows(vaddr, size) & (pfn[1:] == pfn[:-1] + pages(frame)[:-1])
    starts = starts_of(len(frame), ~np.where(framed[1:], framed[:-1] & goes_on, ~framed[:-1]))
    is_run = framed[starts]
    codes = np.where(is_run, 1 - np.cumsum(is_run) % 2, 2)
    kinds = [("contiguous", palette.RUN), ("next contiguous", palette.NEXT_RUN), ("not present", palette.NOTHING)]
    return _Found(starts, codes, kinds)


def _counted(color: str, found: _Found, size: NDArray[np.uint64]) -> Layer:
    """Make a layer of entries of these sizes, with the categories that occur."""
    ends = ends_of(found.starts, len(size))
    entries = np.diff(ends, prepend=np.uint32(0))
    covered = np.add.reduceat(size, found.starts) if len(size) else size
    used = np.flatnonzero(np.bincount(found.codes, minlength=1))
    renumbered = np.zeros(len(found.kinds), np.uint8)
    renumbered[used] = np.arange(len(used))
    codes = renumbered[found.codes]
    categories = []
    for code, kind in enumerate(used.tolist()):
        of = codes == code
        name, look = found.kinds[kind]
        n, total, largest = int(entries[of].sum()), int(covered[of].sum()), int(covered[of].max())
        categories.append(Category(name, look, n, total, int(of.sum()), largest))
    return Layer(color, ends, codes, tuple(categories))
