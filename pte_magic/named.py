"""What a person named in a line, ``[PID] TARGET``: the object itself, its addresses, and where they are."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from pte_magic import core
from pte_magic import target as targets
from pte_magic.errors import TargetError
from pte_magic.expressions import compiles, evaluate, pid_of
from pte_magic.space import AddressSpace, own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.target import Target

_REGION = re.compile(r"\[[\w:. -]+\]")
# A pid before the target: `1234 x`, `self x`, `child.pid [heap]`. What looks like an operator makes it an expression.
_PID_FIRST = re.compile(r"(\d+|self)\s+(?![-+*/%<>=&|^.,])(.+)|(\S+)\s+(\[[\w:. -]+\])")
_QUOTED_OR_ONE = re.compile(r"'[^']*'|\"[^\"]*\"|.")


class Named(NamedTuple):
    """What was named. Whoever has this holds the object, so its memory is not free again when it is looked at.

    Attributes:
        text: All the words.
        name: The words that name the target, without a pid.
        value: The object, if these are a Python expression; else None.
        meant: Its addresses.
        space: Where they are; open.

    """

    text: str
    name: str
    value: object
    meant: Target
    space: AddressSpace


@contextmanager
def named(text: str, namespace: dict[str, Any]) -> Iterator[Named]:
    """Find out what a text names, and keep its address space open.

    Raises:
        PteMagicError, NameError: It names nothing, or nothing that may be looked at.

    """
    pid_text, name = _split_pid(text, namespace)
    with nullcontext(own()) if pid_text is None else AddressSpace(pid_of(pid_text, namespace)) as space:
        value, meant = _resolve(name, namespace, space)
        yield Named(text, name, value, meant, space)


def split(text: str) -> list[str]:
    """Split a text at its commas, but not within brackets and quotes: ``a[1, 2], child.pid a`` are two targets."""
    parts, depth = [""], 0
    for piece in _QUOTED_OR_ONE.findall(text):
        depth += (piece in {"(", "[", "{"}) - (piece in {")", "]", "}"})
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]


def of_value(value: object, space: AddressSpace) -> Target:
    """Return the addresses of what an expression gave; in a notebook a string is an object like any other."""
    return targets.of_object(value) if isinstance(value, str) else core.resolve(value, None, space)


def _split_pid(text: str, namespace: dict[str, Any]) -> tuple[str | None, str]:
    """Split a pid, if there is one, from the target."""
    if found := _PID_FIRST.fullmatch(text):
        return (found[1], found[2]) if found[1] else (found[3], found[4])
    first, _, rest = text.partition(" ")
    if rest and not compiles(text) and (compiles(first) or first in namespace):
        return first, rest
    return None, text


def _resolve(text: str, namespace: dict[str, Any], space: AddressSpace) -> tuple[object, Target]:
    """Return the object that a text names, and its target. A name defined here goes before a region's name."""
    if not (text.isidentifier() and text in namespace):
        meant = targets.parse(text, space)
        if meant is not None:
            return None, meant
        if _REGION.fullmatch(text) or not compiles(text):
            raise targets.unknown(text, space)
    try:
        value = evaluate(text, namespace)
    except NameError as error:
        if text.isidentifier():
            raise targets.unknown(text, space) from error
        raise TargetError(str(error)) from error
    return value, of_value(value, space)
