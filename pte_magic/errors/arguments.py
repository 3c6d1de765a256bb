"""Checks of arguments: numbers of numpy and pandas are numbers, and other values get a one-line error."""

from __future__ import annotations

import math
import numbers
import operator
import os
from decimal import Decimal
from typing import Any

import numpy as np

from pte_magic.errors import PteMagicError, TargetError
from pte_magic.errors.cut import cut
from pte_magic.errors.escapes import visible

_SHOWN = 60  # characters of a value in an error
_BITS = 128  # of a number: no address, pid or count has as many
_PLAIN = (bool, int, float, complex, str, bytes, Decimal, type(None))  # what is shown as Python writes it
_NAME = type.__dict__["__name__"].__get__  # a metaclass may have its own idea


def shown(value: Any) -> str:
    """Return a value as an error shows it: short, on one line; a large value by its kind.

    No code of the value runs: a subclass is shown as its base class.
    """
    if issubclass(type(value), np.generic) and not issubclass(type(value), _PLAIN):
        value = np.generic.item(value)
    kind = type(value)
    base: Any = next((one for one in _PLAIN if issubclass(kind, one)), None)
    if base is int and int.bit_length(value) > 4 * _SHOWN:
        return f"a number of {int.bit_length(value)} bits"  # Python refuses to write very long ones
    if base in {str, bytes}:
        value = base.__getitem__(value, slice(2 * _SHOWN))
        is_plain = base is bytes or (value.isprintable() and len(value) <= _SHOWN)
        return cut(repr(value) if is_plain else ascii(value), _SHOWN)
    if base:
        return cut(base.__repr__(value), _SHOWN)
    name = class_name(value)
    if name == "NAType":  # pandas' only one
        return "<NA>"
    return f"{'an' if name[:1].lower() in 'aeiou' or name == 'ndarray' else 'a'} {name}"


def class_name(value: object) -> str:
    """Return the name of a value's class as messages show it: not too long, with all letters visible."""
    return visible(cut(_NAME(type(value)), _SHOWN))


def plain(value: Any) -> Any:
    """Return a text of a subclass, whose comparisons may be anything, as a str; other values unchanged."""
    return str.__str__(value) if issubclass(type(value), str) else value


def integer(
    value: Any, name: str, what: str, *, least: int | None = None, error: type[PteMagicError] = TargetError
) -> int:
    """Return a whole number as Python's int.

    Args:
        value: The argument: an int, or a value that Python and numpy take for one. A bool is not.
        name: Name of the parameter.
        what: The advice what to type, as in "type 1234, for example".
        least: The smallest allowed number.
        error: The class of the error.

    Raises:
        PteMagicError: It is not a whole number, too small, or has more than 128 bits.

    """
    number = index(value)
    if number is None or (least is not None and number < least):
        message = f"{name}={shown(value)} is not {_whole(least)}; {what}"
        raise error(message)
    if number.bit_length() > _BITS:
        message = f"{name}={shown(value)} is too large; {what}"
        raise error(message)
    return number


def index(value: Any) -> int | None:
    """Return a value that Python and numpy take for a whole number as an int; else None. A bool is not."""
    if issubclass(type(value), (bool, np.bool_)):
        return None
    try:
        return operator.index(value)  # an exact int, of a subclass, too, which may compare as it likes
    except Exception:  # noqa: BLE001  (somebody else's __index__ may raise anything: then it is not a number)
        return None


def _whole(least: int | None) -> str:
    return "a whole number" if least is None else f"a whole number from {least} on"


def address(value: Any, name: str) -> int:
    """Return an address. Raises as `integer`."""
    if type(value) is int and 0 <= value < 1 << _BITS:  # nearly always
        return value
    return integer(value, name, "type an address, such as 0x7f0000000000")


def process(value: Any) -> int:
    """Return a pid. Raises as `integer`."""
    return integer(value, "pid", "type the number of a process, such as 1234, or leave it out for this one")


def rows(value: Any) -> int:
    """Return a number of rows. Raises as `integer`."""
    return integer(value, "rows", "a frame has at least one row; type rows=100000, for example", least=1)


def seconds(value: Any, name: str, least: float, below: float) -> float:
    """Return a number of seconds.

    Raises:
        TargetError: It is not a number, below `least`, or not below `below`.

    """
    found = math.nan
    if issubclass(type(value), (numbers.Real, Decimal)) and not issubclass(type(value), (bool, np.bool_)):
        try:
            found = float(value)
        except Exception:  # noqa: BLE001  (an integer may be too large, a Decimal no number, and a class is anybody's)
            found = math.inf
    if not least <= found < below:
        message = f"{name}={shown(value)} is not a number of seconds; type one from {least} on"
        raise TargetError(message)
    return found


def text(value: Any, name: str, what: str) -> str:
    """Return a text as a plain str.

    Raises:
        TargetError: It is not a text; `what` says what to type.

    """
    if not issubclass(type(value), str):
        message = f"{name}={shown(value)} is not a text; {what}"
        raise TargetError(message)
    return str.__str__(value)


def flag(value: Any, name: str, what: str, *, error: type[PteMagicError] = TargetError) -> bool:
    """Return a flag: Python's True or False, or numpy's.

    Raises:
        PteMagicError: It is neither; `what` says what to type.

    """
    if not issubclass(type(value), (bool, np.bool_)):
        message = f"{name}={shown(value)} is not True or False; {what}"
        raise error(message)
    return bool(value)


def path(value: Any, name: str = "path", *, error: type[PteMagicError] = TargetError) -> str:
    """Return a path as text.

    Raises:
        PteMagicError: It is not a path.

    """
    try:
        found = str.__str__(os.fsdecode(value))
        os.fsencode(found)  # a surrogate that stands for no byte is in no name
    except Exception:  # noqa: BLE001  (somebody else's __fspath__ may raise anything)
        found = "\0"
    if "\0" in found or not found:
        message = f"{name}={shown(value)} is not a path; type one such as 'before'"
        raise error(message)
    return found


def typed_entry(text: str, value: int) -> int:
    """Return the number that somebody typed for a raw entry.

    Raises:
        TargetError: No entry has so many bits; names the number as it was typed.

    """
    if 0 <= value < 1 << 64:
        return value
    message = f"{cut(text.strip(), 60)} is not a 64-bit entry; type a number from 0 to {(1 << 64) - 1:#x}"
    raise TargetError(message)
