"""Python's values in SystemTap's types: whole numbers of 64 bits, and texts."""

from __future__ import annotations

import re

import numpy as np

from pte_magic.errors import SystemTapError, TargetError
from pte_magic.targets.objects import find

_PREFIX = "__python_"
_LONGEST = 511  # bytes: SystemTap's MAXSTRINGLEN on 64-bit machines, with the zero at the end


def value(name: str, thing: object) -> int | str:
    """Return a variable's value as SystemTap takes it: a signed number of 64 bits, an address, or a text.

    Raises:
        SystemTapError: The value is something else.

    """
    if isinstance(thing, (int, np.integer, np.bool_)):
        number = int(thing)
        if not -(1 << 63) <= number < 1 << 64:
            message = f"${name} is {number}, which has more than 64 bits"
            raise SystemTapError(message)
        return number - (1 << 64) if number >> 63 > 0 else number
    if isinstance(thing, str):
        _check(name, thing)
        return thing
    if isinstance(thing, (float, np.floating)):
        message = f"${name} is {thing!s}, and SystemTap has whole numbers only; type {name} = int({name}) first"
        raise SystemTapError(message)
    try:
        found = find(thing)
    except TargetError as error:
        message = f"${name}: {error}"
        raise SystemTapError(message) from error
    if found.is_itself:  # nothing but Python's own idea of it
        message = (
            f"${name} is a {type(thing).__name__}, and SystemTap takes numbers, texts and arrays (their address); "
            f'for the variable of the probe point by that name type @var("{name}")'
        )
        raise SystemTapError(message)
    start = found.blocks[0][0]
    return start - (1 << 64) if start >> 63 else start


def _check(name: str, text: str) -> None:
    if "\0" in text:
        message = f"${name} is a text with a zero byte, where SystemTap would end it"
        raise SystemTapError(message)
    if (length := len(text.encode(errors="surrogateescape"))) > _LONGEST:
        message = f"${name} is a text of {length} bytes, and SystemTap's have {_LONGEST} at most"
        raise SystemTapError(message)


def global_name(name: str) -> str:
    """Return the name of the global variable for Python's `name`, which may have any letters."""
    return _PREFIX + re.sub(r"\W", lambda letter: f"_u{ord(letter[0]):x}", name, flags=re.ASCII)


def python_names(text: str) -> str:
    """Return a message with ``$name`` for each global variable that `global_name` named."""

    def back(found: re.Match[str]) -> str:
        return "$" + re.sub(r"_u([0-9a-f]+)", lambda letter: chr(int(letter[1], 16)), found[1])

    return re.sub(rf"\b{_PREFIX}(\w+)", back, text)


def literal(thing: int | str) -> str:
    """Return a value as a literal of a script."""
    if isinstance(thing, int):
        return str(thing)
    # Octal, as what may follow a hexadecimal escape would belong to it.
    plain = (c if c.isprintable() and c not in '"\\' else _escaped(c) for c in thing)
    return f'"{"".join(plain)}"'


def _escaped(letter: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in letter.encode(errors="surrogateescape"))
