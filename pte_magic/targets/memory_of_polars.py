"""Memory of the frames and series of polars: of each column what it exports by Arrow's protocol without a copy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import class_name
from pte_magic.errors.escapes import visible
from pte_magic.targets import arrow_exports, memory_in_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.targets.blocks import Blocks

_CATEGORIES = frozenset({"Categorical", "Enum"})
_PYTHON = "Object"


def is_one(kind: Any) -> bool:
    """Tell whether a class is, or derives from, polars' frame or series."""
    return any(memory_in_attributes.is_a(kind, "polars", name) for name in ("DataFrame", "Series"))


def look(thing: Any, found: Blocks) -> bool:
    """Add the addresses of the columns of a frame, or of a series; false if it is neither.

    The frame itself is not asked to export: if its columns have pieces of different lengths, it would copy them into
    new ones, and keep these (`DataFrame.rechunk`).

    Raises:
        TargetError: pyarrow is not installed, or no column tells where it is.

    """
    if not is_one(type(thing)):
        return False
    polars: Any = sys.modules["polars"]
    is_frame = memory_in_attributes.is_a(type(thing), "polars", "DataFrame")
    for column in polars.DataFrame.get_columns(thing) if is_frame else [thing]:
        if not _add(column, found):
            where = f"column {visible(polars.Series.name.fget(column))}" if is_frame else "data"
            found.say(f"its {where} of type {polars.Series.dtype.fget(column)} is where polars does not tell")
    if found.notes and not found.found:
        message = f"the {class_name(thing)}: {', '.join(found.notes)}"
        raise TargetError(message)
    return True


def _add(column: Any, found: Blocks) -> bool:
    """Add the memory of a column; false if polars does not tell it without making it anew."""
    polars: Any = sys.modules["polars"]
    names = set(_names(polars.Series.dtype.fget(column)))
    if _PYTHON in names:
        return False
    if names & {
        *_CATEGORIES
    }:  # an export makes a new list of all categories; the numbers that stand for them are there
        column = polars.Series.to_physical(column)
        found.say("the texts of its categories are where polars does not tell")
    try:
        return arrow_exports.add(column, found, "chunked_array")
    except ValueError:  # pyarrow.ArrowInvalid: a type that Arrow does not have, such as Int128
        return False


def _names(dtype: Any) -> Iterator[str]:
    """Yield the names of a type, and of those within it."""
    yield type(dtype).__name__
    for inner in (getattr(dtype, "inner", None), *(field.dtype for field in getattr(dtype, "fields", ()))):
        if inner is not None:
            yield from _names(inner)
