"""Raw entries and levels that users pass, in any form; for others, one line says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.errors import TargetError, said
from pte_magic.errors.arguments import class_name, index, shown
from pte_magic.linux.geometry import LEVELS
from pte_magic.text.suggestions import did_you_mean
from pte_magic.text.units import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray


def number(value: Any, bits: int) -> int:
    """Return one raw entry.

    Raises:
        TargetError: It is not a number of so many bits.

    """
    found = index(value)
    if found is None or not 0 <= found < 1 << bits:
        raise _refused(shown(value), bits)
    return found


def entries(given: Any, bits: int) -> NDArray[np.uint64]:
    """Return raw entries, ``uint64[n]``, from a number, or an array, Series or list of any shape.

    Args:
        given: The numbers.
        bits: The number of bits of an entry.

    Raises:
        TargetError: One of them is not a number of so many bits; floats are refused, as they have lost bits.

    """
    kind = type(given)  # never __class__, which may be anything
    if issubclass(kind, pd.DataFrame):
        message = f"a {class_name(given)} is not a list of entries; name its column: frame.entry"
        raise TargetError(message)
    if issubclass(kind, (bytes, bytearray)):
        message = f"{class_name(given)} is not a list of entries; type np.frombuffer(…, np.uint64)"
        raise TargetError(message)
    try:
        values = _array(given)
    except Exception as error:  # an object's own code runs here and may raise anything; it becomes one line
        message = f"{shown(given)} gives no entries: {said(error)}; type numbers, such as [0x67, 0]"
        raise TargetError(message) from error
    if values.dtype.kind == "O" and values.size:
        found = values.ravel()
        values = np.fromiter((_one(value, i, len(found), bits) for i, value in enumerate(found)), np.uint64, len(found))
    elif values.dtype.kind == "i" and values.size and values.min() < 0:
        _one(values.flat[int(values.argmin())], int(values.argmin()), values.size, bits)
    elif values.size and (values.dtype.kind not in "iu" or int(values.max()) >> bits):
        at = int(values.argmax()) if values.dtype.kind == "u" else 0
        _one(values.flat[at], at, values.size, bits)
    return np.ascontiguousarray(values, np.uint64).reshape(-1)


def _array(given: Any) -> NDArray[Any]:
    kind = type(given)
    if issubclass(kind, np.ma.MaskedArray) and np.ma.is_masked(given):
        given = given.astype(object).tolist()  # None where it is masked
    # Small and large numbers in a list would become floats, and so would numbers among which some are missing.
    is_pandas = issubclass(kind, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray))
    as_objects = issubclass(kind, (list, tuple)) or (is_pandas and bool(pd.isna(given).any()))
    return np.asarray(given, dtype=object if as_objects else None)


def _one(value: Any, at: int, n: int, bits: int) -> int:
    """Return the entry `at` of `n`; the error for a wrong one names its number."""
    try:
        return number(value, bits)
    except TargetError as error:
        if n > 1 and pd.api.types.is_scalar(value) and pd.isna(value):
            message = f"entry {at} of {n} is missing; leave such rows out, with dropna()"
            raise TargetError(message) from None
        if n > 1:
            message = f"entry {at} of {n}: {error}"
            raise TargetError(message) from None
        raise


def _refused(what: str, bits: int) -> TargetError:
    message = f"{what} is not a {bits}-bit entry; type a number from 0 to {(1 << bits) - 1:#x}"
    return TargetError(message)


def levels(given: Any, n: int, known: tuple[str, ...]) -> NDArray[np.int8]:
    """Return the level of each of `n` entries, ``int8[n]``, indices into ``LEVELS``.

    Args:
        given: The name of one level for all, or a name for each.
        n: The number of entries.
        known: Names of the levels of the format.

    Raises:
        TargetError: There is no such level, or the numbers of names and entries differ.

    """
    try:
        if issubclass(type(given), np.ndarray) and not given.ndim:
            given = given.item()
        one = issubclass(type(given), str) or not hasattr(type(given), "__len__")
        names = [given] if one else list(given)
    except Exception as error:  # as above
        message = f"level {shown(given)} gives no names: {said(error)}; type one of {', '.join(known)}"
        raise TargetError(message) from error
    for at, name in enumerate(names):
        if issubclass(type(name), str):
            names[at] = name = str.__str__(name)  # noqa: PLW2901  (a subclass may compare as it likes)
        if type(name) is not str or name not in known:
            near = did_you_mean(name, known, similar=0.8) if type(name) is str else ""
            message = f"level {shown(name)} does not exist; type one of {', '.join(known)}{near}"
            raise TargetError(message)
    if not one and len(names) != n:
        message = f"{counted(len(names), 'level')} for {counted(n, 'entry', 'entries')}; "
        message += "type one level for all, or one for each"
        raise TargetError(message)
    codes = np.array([LEVELS.index(name) for name in names], np.int8)
    return np.repeat(codes, n) if one else codes
