"""Memory that objects of other libraries export by Arrow's protocol, without a copy."""

from __future__ import annotations

import sys
from typing import Any

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import class_name
from pte_magic.targets import memory_of_arrow
from pte_magic.targets.blocks import Blocks


def is_loaded() -> bool:
    """Tell whether pyarrow is imported, and not only half."""
    return hasattr(sys.modules.get("pyarrow"), "UnionArray")


def add(thing: Any, found: Blocks, make: str = "array") -> bool:
    """Add the memory that an object exports; false if each export makes new data, which then is not added.

    Args:
        thing: The object.
        found: Its blocks.
        make: The function of pyarrow that takes it: ``array``, or ``chunked_array`` for a stream.

    Raises:
        TargetError: pyarrow is not installed.

    """
    try:
        import pyarrow as pa  # noqa: PLC0415  (optional: only for objects that export Arrow)
    except ImportError:
        message = f"the {class_name(thing)} exports its data through Arrow; type `pip install pyarrow`"
        raise TargetError(message) from None
    held = [getattr(pa, make)(thing) for _ in range(2)]  # both at once, or the second one could be where the first was
    first, second = Blocks(), Blocks()
    for one, blocks in zip(held, (first, second), strict=True):
        memory_of_arrow.look(one, blocks)
    if first.found != second.found:
        return False
    found.join(first)
    return True
