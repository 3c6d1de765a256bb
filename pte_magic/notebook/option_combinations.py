"""Combinations of the options of ``%pte``: options without an effect are refused in one line."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

VIEWS = ("runs", "summary", "frames", "bits", "translation", "map", "watch", "why")
"""Views; only one at a time, but a summary may be of frames."""

_TABLES = ("runs", "summary", "frames")  # views that show entries which point to page tables
_TOGETHER: dict[str, tuple[str, ...]] = {
    "walker": ("tables", "no-tables", *VIEWS, "every", "try", "color", "machine", "shared"),
    "tables": _TABLES,
    "no-tables": _TABLES,
    "summary": ("frames",),
    "map": ("color",),
    "watch": ("every",),
    "why": ("try",),
    "decode": ("level", "bits"),
    "level": ("bits",),
    "machine": ("map",),
    "shared": ("watch", "every"),
    "doctor": (),
    "vars": ("pid",),
    "file": (),
}
"""Valid pairs, each once. Other pairs say the same twice, contradict each other, or one has no effect."""

_NEEDS = {"every": "watch", "try": "why", "color": "map", "level": "decode", "pid": "vars"}
_HOW = {
    "every": "%pte --watch --every SECONDS TARGET",
    "try": "%pte --why --try TARGET",
    "color": "%pte --map --color COLUMN TARGET",
    "level": "%pte --decode VALUE --level LEVEL",
    "decode": "%pte --decode VALUE, or %pte --decode (EXPRESSION) --bits",
    "machine": "%pte --machine, or %pte --machine --map",
    "doctor": "%pte --doctor",
    "vars": "%pte --vars, or %pte --vars NAME[, NAME ...]",
    "pid": "%pte --vars --pid CHILD",
    "file": "%pte --file PATH",
    "translation": "%pte --translation ADDRESS, which shows the page tables",
    "bits": "%pte --bits TARGET, which shows the entry at the end of the way",
    "map": "%pte --map TARGET, which shows entries that map something or could",
    "shared": "%pte --shared TARGET, or %pte --shared --watch TARGET",
    "watch": "%pte --watch TARGET",
    "why": "%pte --why TARGET, which shows its checks",
}
_WHAT = {"decode": "a value", "machine": "all processes", "doctor": "the walkers", "file": "a file"}
_ALONE = {*_WHAT, "shared", "vars"}  # without a target


def check(typed: Sequence[str], target: str) -> None:
    """Refuse options that have no effect together, or on this target.

    Args:
        typed: Names of options, without dashes.
        target: The target; may be empty.

    Raises:
        UsageError: Some have no effect.

    """
    typed = list(dict.fromkeys(typed))  # twice the same is harmless
    views = [name for name in VIEWS if name in typed]
    if len(views) > 1 and set(views) != {"summary", "frames"}:
        message = f"--{' and --'.join(views)} are different views; type one of them"
        raise UsageError(message)
    for one, what in _WHAT.items():
        if one in typed and (target or any(not go_together(one, other) for other in typed if other != one)):
            message = f"--{one} is about {what}; type {_HOW[one]}"
            raise UsageError(message)
    for one, other in _NEEDS.items():
        if one in typed and other not in typed:
            message = f"--{one} goes with --{other}; type {_HOW[one]}"
            raise UsageError(message)
    for one, other in combinations(typed, 2):
        if not go_together(one, other):
            first = ["shared"] if "shared" in {one, other} else views
            how = next(_HOW[name] for name in (*first, one, other) if name in _HOW)
            message = f"--{one} does not go with --{other}; type {how}"
            raise UsageError(message)
    if typed and not target and not any(name in typed for name in _ALONE):
        one = next(iter((*views, *typed)))
        value = " NAME" if one == "walker" else ""
        message = f"--{one} needs a target; type %pte --{one}{value} TARGET, such as the name of an array"
        raise UsageError(message)


def go_together(one: str, other: str) -> bool:
    """Tell whether two options, without dashes, both have an effect when they are typed together."""
    return other in _TOGETHER.get(one, ()) or one in _TOGETHER.get(other, ())
