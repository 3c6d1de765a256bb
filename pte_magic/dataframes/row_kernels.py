"""The kernel of each row of a frame, as text in the column ``format``: all that decoding the entry needs.

`DataFrame.attrs` are not enough: pandas loses them when frames are merged, when frames of two hosts are joined, and
when a new DataFrame is made of one. A column survives all of that, and takes one byte per row.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.dataframes.column_names import FORMAT
from pte_magic.errors import TargetError
from pte_magic.formats import kernel as kernels
from pte_magic.linux import hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.formats.kernel import Kernel

COLUMN = FORMAT
COLUMNS = (COLUMN, "format_before", "format_after")
"""Of frames, and of differences between two."""


@functools.cache
def dtype(kernel: Kernel) -> Any:
    """Return the dtype of a column in which all rows are of one kernel."""
    return pd.CategoricalDtype([kernel.told])


def column(kernel: Kernel, n: int) -> pd.Categorical:
    """Return the column of `n` rows of one kernel."""
    return pd.Categorical.from_codes(np.zeros(n, np.int8), dtype=dtype(kernel), validate=False)


def attrs(kernel: Kernel) -> dict[Any, Any]:
    """Return the `attrs` of a frame whose entries are all of one kernel."""
    return {"format": kernel.words} | {name: value for name, value in kernel.address_bits._asdict().items() if value}


def known(frame: pd.DataFrame, name: str = COLUMN) -> tuple[NDArray[np.intp], list[Kernel | None]]:
    """Return the kernels of a frame's entries, and the kernel of each row, ``intp[n]``.

    A kernel is None where neither row nor frame names it. Frames of older versions have it in their `attrs` only.

    Raises:
        TargetError: The column has another content.

    """
    if name not in frame.columns:
        told = kernels.of_frame(frame.attrs) if frame.attrs.get("format") is not None else None
        return np.zeros(len(frame), np.intp), [told]
    codes, words = _factorized(frame[name])
    missing = codes < 0
    found: list[Kernel | None] = [kernels.of_told(word) for word in words]
    return (np.where(missing, len(found), codes), [*found, None]) if missing.any() else (codes, found)


def _factorized(words: pd.Series[Any]) -> tuple[NDArray[Any], Sequence[Any]]:
    array: Any = words.array
    if isinstance(array, pd.Categorical) and len(array.categories) == 1 and not array.isna().any():  # nearly always
        return array.codes, list(array.categories)
    codes, found = pd.factorize(array)
    return codes, list(found)


def of_all(frame: pd.DataFrame) -> Kernel:
    """Return the kernel of all entries of a frame.

    Raises:
        TargetError: They are of several kernels, or of an unknown one.

    """
    found = known(frame)[1]
    if len(found) > 1:
        one, other = labels(found)[:2]
        message = f"these entries are of several kernels, {one} and {other}; select the rows of one of them, such as "
        message += f"frame[frame[{COLUMN!r}] == frame[{COLUMN!r}].iloc[0]]"
        raise TargetError(message)
    if not found or found[0] is None:
        if not len(frame):
            return kernels.running()
        message = "the kernel of these entries is not known, so they cannot be decoded; keep the column "
        message += f"{COLUMN!r} of the frame that pte_magic.walk() returned"
        raise TargetError(message)
    return found[0]


def labels(found: Sequence[Kernel | None]) -> list[str]:
    """Return names that tell kernels apart: their formats, and other differences."""
    told = [kernel.told.split() if kernel else ["an unknown one"] for kernel in found]
    short = [words[0] for words in told]
    if len(set(short)) < len(short):
        common = set.intersection(*(set(words) for words in told if len(words) > 1))
        short = [" ".join([words[0], *(word for word in words[1:] if word not in common)]) for words in told]
    return short


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with the shortest text in the column ``format`` that tells its rows apart.

    Without the column, if all rows have the format of this host.
    """
    if not frame.columns.is_unique:
        return frame
    frame = frame.drop(columns=list(COLUMNS[1:]), errors="ignore")
    if COLUMN not in frame.columns:
        return frame
    try:
        codes, found = known(frame)
    except TargetError:
        return frame
    if len(found) <= 1 and (not found or found[0] is None or found[0].format.name == hardware.encoding()):
        return frame.drop(columns=COLUMN)
    return frame.assign(**{COLUMN: _category(codes, labels(found))})


def carried(frame: pd.DataFrame, parts: Sequence[Any]) -> None:
    """Keep the kernel of each row in the result of `pandas.concat`.

    pandas makes text of categories of several frames, which takes a hundred bytes per row; and frames of older versions
    have the kernel of all their rows in their `attrs` only.
    """
    frames = [part for part in parts if isinstance(part, pd.DataFrame)]
    if not frame.columns.is_unique or sum(map(len, frames)) != len(frame) or len(frames) < len(parts):
        return  # not one below the other
    for name in COLUMNS:
        if name in frame.columns:
            column = frame[name]
            if not isinstance(column.dtype, pd.CategoricalDtype) or column.isna().any():
                frame[name] = _joined(frames, name)
        elif name == COLUMN:
            told = [_told_by_attrs(part) for part in frames]
            if len(set(told)) > 1:
                frame[name] = _joined(frames, name)
            elif told and told[0]:
                frame.attrs |= attrs(kernels.of_told(told[0]))


def _told_by_attrs(part: pd.DataFrame) -> str | None:
    return kernels.of_frame(part.attrs).told if part.attrs.get("format") is not None else None


def _joined(frames: Sequence[pd.DataFrame], name: str) -> Any:
    numbers: dict[Any, int] = {}
    codes = []
    for part in frames:
        if name in part.columns:
            code, words = _factorized(part[name])
        else:
            word = _told_by_attrs(part)
            words = [word] if word else []
            code = np.full(len(part), len(words) - 1)
        numbered = np.array([*(numbers.setdefault(word, len(numbers)) for word in words), -1])
        codes.append(numbered[code])
    return _category(np.concatenate(codes), list(numbers))


def _category(codes: NDArray[Any], words: list[str]) -> Any:
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(words))
