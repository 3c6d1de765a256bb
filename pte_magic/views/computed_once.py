"""Results that text and HTML of a frame share: of a million rows, they are most of the time of a display."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    Result = TypeVar("Result")

# The frame that is shown now, and what functions returned for it.
_shown: ContextVar[tuple[pd.DataFrame, dict[Any, Any]] | None] = ContextVar("shown", default=None)


@contextmanager
def look(frame: pd.DataFrame) -> Iterator[None]:
    """Let functions with `once` compute the same of a frame only once, until the block ends."""
    before = _shown.set((frame, {}))
    try:
        yield
    finally:
        _shown.reset(before)


def once(function: Callable[[pd.DataFrame], Result]) -> Callable[[pd.DataFrame], Result]:
    """Return a function of a frame that computes its result once in a `look`, which nobody may change."""

    @functools.wraps(function)
    def found(frame: pd.DataFrame) -> Result:
        shown = _shown.get()
        if shown is None or shown[0] is not frame:
            return function(frame)
        if function not in shown[1]:
            shown[1][function] = function(frame)
        result: Result = shown[1][function]
        return result

    return found
