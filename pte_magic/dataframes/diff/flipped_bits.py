"""The names of the bits that differ between two entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pte_magic.dataframes import row_kernels
from pte_magic.formats import decode
from pte_magic.formats.kernel import fields
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pte_magic.formats.field import Field
    from pte_magic.formats.kernel import Kernel

_WIDTH = 64
_PLACES = frozenset({"pfn", "pfn_high", "offset"})
"""Fields with the place of a page: their flipped bits differ from page to page."""


class _Kind(NamedTuple):
    """Entries before, or after, of one shape: the rows, ``intp[m]``, and their flipped bits that are set."""

    sign: str
    rows: NDArray[np.intp]
    bits: NDArray[np.uint64]
    fields: list[Field]


def names(diff: pd.DataFrame) -> list[str]:
    """Return the flipped bits of each row: ``+`` for a set bit, ``-`` for a cleared one; empty if none is known.

    A bit is named as in the entry in which it is set. A field of several bits has no sign.
    """
    signs: list[dict[str, str]] = [{} for _ in range(len(diff))]
    lowest: dict[str, int] = {}
    for sign, rows, bits, found in _kinds(diff):
        for row, flipped in zip(rows.tolist(), bits.tolist(), strict=True):
            left = flipped
            for field in found:
                if field.mask & flipped:
                    signs[row][field.name] = sign if field.width == 1 and field.name not in signs[row] else ""
                    lowest.setdefault(field.name, field.low)
                left &= ~field.mask
            for bit in (bit for bit in range(_WIDTH) if left >> bit & 1):
                signs[row][f"bit {bit}"] = sign
                lowest[f"bit {bit}"] = bit
    return [" ".join(f"{row[name]}{name}" for name in sorted(row, key=lowest.__getitem__)) for row in signs]


def changes(diff: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell for each row but the first whether other bits flipped than in the row before it, ``bool[n-1]``.

    Bits of a page frame or of a place in swap do not count: they differ between neighbours with the same change.
    """
    keys = {sign: np.zeros(len(diff), np.uint64) for sign in "-+"}
    for sign, rows, bits, found in _kinds(diff):
        key = bits.copy()
        for field in found:
            if field.width > 1:
                named = (bits & np.uint64(field.mask) != 0) & (field.name not in _PLACES)
                key &= ~np.uint64(field.mask)
                key |= named.astype(np.uint64) << np.uint64(field.low)
        keys[sign][rows] = key
    set_before, set_after = keys.values()
    differ: NDArray[np.bool_] = (set_before[1:] != set_before[:-1]) | (set_after[1:] != set_after[:-1])
    return differ


def _kinds(diff: pd.DataFrame) -> Iterator[_Kind]:
    """Yield the rows with known flipped bits, by the kind of their entries before, then after."""
    known = diff["flipped"].notna().to_numpy(np.bool_)
    flipped = diff["flipped"].to_numpy(np.uint64, na_value=0)
    for when, sign in (("before", "-"), ("after", "+")):
        of, kernels = row_kernels.known(diff, f"format_{when}")
        entry = diff[when].to_numpy(np.uint64, na_value=0)
        level = pd.Categorical(diff[f"level_{when}"], categories=list(LEVELS)).codes.astype(np.int8)
        for number, kernel in enumerate(kernels):
            rows = np.flatnonzero(known & (of == number))
            if len(rows):
                yield from _kinds_of(sign, rows, entry[rows], flipped[rows] & entry[rows], level[rows], kernel)


def _kinds_of(  # noqa: PLR0913, PLR0917  (columns of the same rows)
    sign: str,
    rows: NDArray[np.intp],
    entry: NDArray[np.uint64],
    bits: NDArray[np.uint64],
    level: NDArray[np.int8],
    kernel: Kernel | None,
) -> Iterator[_Kind]:
    """Yield rows with entries of one kernel; if it is not known, their bits have no names."""
    if kernel is None:
        yield _Kind(sign, rows, bits, [])
        return
    table = fields(kernel)
    shape = decode.shapes(entry, level, decode.octets(entry, kernel), kernel)
    for code in np.unique(shape).tolist():
        some = np.flatnonzero(shape == code)
        yield _Kind(sign, rows[some], bits[some], [field for field in table if code in field.shapes])
