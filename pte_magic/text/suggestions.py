"""Suggestions for mistyped names: the nearest names that exist."""

from __future__ import annotations

import builtins
import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIMILAR = 0.6  # of difflib: letters that two names share, by their length
_IPYTHONS = {"In", "Out", "exit", "quit", "get_ipython"}  # of the variables that the user has not made
_LONGEST = 100  # letters that a name has, or a mistyped one; comparing takes the square of them
_ALMOST = 0.85  # of Python's own names, which are many
_BETTER = 0.05  # by which the nearest is the only one that is meant


def did_you_mean(word: str, names: Iterable[str], *, similar: float = _SIMILAR) -> str:
    """Return ``; did you mean 'NAME'?``, with the nearest name or two; empty if none is near.

    Names that differ only in upper and lower case, and names that begin with the word, are always near.
    """
    if len(word) > _LONGEST:
        return ""
    known = dict.fromkeys(names)
    near = {
        name: difflib.SequenceMatcher(None, word.casefold(), name.casefold().strip("-[]")).ratio() for name in known
    }
    if len(word) > 1:
        near |= {name: max(near[name], _SIMILAR) for name in known if name.casefold().startswith(word.casefold())}
    best = sorted((name for name in known if near[name] >= similar), key=lambda name: -near[name])[:2]
    if not best:
        return ""
    if len(best) > 1 and near[best[0]] - near[best[1]] > _BETTER:
        best = best[:1]
    return f"; did you mean {' or '.join(map(repr, best))}?"


def undefined(error: NameError, known: Iterable[str]) -> str:
    """Return the message for an undefined name, with a suggestion from the `known` names and Python's own."""
    name = error.name or ""
    near = did_you_mean(
        name, [one for one in known if one not in _IPYTHONS and one.startswith("_") <= name.startswith("_")]
    )
    return f"{error}{near or did_you_mean(name, dir(builtins), similar=_ALMOST)}"
