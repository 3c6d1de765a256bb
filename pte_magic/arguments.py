"""What people pass to public functions: numbers of numpy and pandas are numbers, and all else is told in one line."""

from __future__ import annotations

import math
import numbers
import operator
import os
from decimal import Decimal
from typing import Any

import numpy as np

from pte_magic.errors import PteMagicError, TargetError

_SHOWN = 60  # characters of a value in an error
_BITS = 128  # of a number: no address, pid or count has as many


def shown(value: object) -> str:
    """Return a value as an error shows it: short, on one line; of what is large, what it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, Decimal)):
        if isinstance(value, int) and value.bit_length() > 4 * _SHOWN:  # Python refuses to write very long ones
            return f"a number of {value.bit_length()} bits"
        text = ascii(value[: 2 * _SHOWN]) if isinstance(value, (str, bytes)) and not _plain(value) else repr(value)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]} …"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' or name == 'ndarray' else 'a'} {name}"


def _plain(value: str | bytes) -> bool:
    return len(value) <= _SHOWN and (isinstance(value, bytes) or value.isprintable())


def integer(
    value: Any, name: str, what: str, *, least: int | None = None, error: type[PteMagicError] = TargetError
) -> int:
    """Return a whole number as an int of Python.

    Args:
        value: What was passed: an int, or what Python and numpy take for one. A bool is none.
        name: Of the parameter.
        what: What to type instead, as in "type 1234, for example".
        least: The smallest that is allowed.
        error: What is raised.

    Raises:
        PteMagicError: It is none, or smaller.

    """
    number = None if isinstance(value, (bool, np.bool_)) else _index(value)
    if number is None or (least is not None and number < least):
        message = f"{name}={shown(value)} is not {_whole(least)}; {what}"
        raise error(message)
    if number.bit_length() > _BITS:
        message = f"{name}={shown(value)} is too large; {what}"
        raise error(message)
    return number


def _index(value: Any) -> int | None:
    try:
        return operator.index(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _whole(least: int | None) -> str:
    return "a whole number" if least is None else f"a whole number from {least} on"


def address(value: Any, name: str) -> int:
    """Return an address. Raises as `integer`."""
    return integer(value, name, "type an address, such as 0x7f0000000000")


def process(value: Any, name: str = "pid") -> int:
    """Return a pid. Raises as `integer`."""
    return integer(value, name, "type the number of a process, such as 1234, or leave it out for this one")


def rows(value: Any) -> int:
    """Return how many rows a frame is to have. Raises as `integer`."""
    return integer(value, "rows", "a frame has one row at least; type rows=100000, for example", least=1)


def seconds(value: Any, name: str, least: float, below: float) -> float:
    """Return a number of seconds.

    Raises:
        TargetError: It is none, or not from `least` on and `below` the other.

    """
    is_number = isinstance(value, (numbers.Real, Decimal)) and not isinstance(value, (bool, np.bool_))
    found = math.nan
    if is_number:
        try:
            found = float(value)
        except (OverflowError, ValueError):  # an integer may be too large, a Decimal no number
            found = math.inf
    if not least <= found < below:
        message = f"{name}={shown(value)} is not a number of seconds; type one from {least} on"
        raise TargetError(message)
    return found


def text(value: Any, name: str, what: str) -> str:
    """Return a text.

    Raises:
        TargetError: It is none; `what` says what to type.

    """
    if not isinstance(value, str):
        message = f"{name}={shown(value)} is not a text; {what}"
        raise TargetError(message)
    return value


def path(value: Any, name: str = "path") -> str:
    """Return a path as text.

    Raises:
        TargetError: It is none.

    """
    try:
        found = os.fsdecode(value)
    except TypeError:
        found = "\0"
    if "\0" in found or not found:
        message = f"{name}={shown(value)} is not a path; type one such as 'before'"
        raise TargetError(message)
    return found
