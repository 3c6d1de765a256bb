"""Memory that objects of other libraries keep: whole buffers and storages, also of those that show a part."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import class_name
from pte_magic.targets import arrow_exports, memory_of_arrow, memory_of_pillow, memory_of_polars, memory_of_torch
from pte_magic.targets.memory_of_arrow import stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.targets.blocks import Blocks


def look(kind: Any) -> Callable[[Any, Blocks], None] | None:
    """Return the function that adds what an object of a class keeps; None if the class is not one of these libraries.

    Only the libraries' own classes are asked: a class that is derived from them may have its own idea of everything.
    """
    if arrow_exports.is_loaded() and _is_arrow(kind):
        return _of_arrow
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "jagged") and any(
        kind is one for one in (torch.Tensor, torch.nn.Parameter, torch.UntypedStorage)
    ):
        return _of_torch
    polars: Any = sys.modules.get("polars")
    if any(kind is getattr(polars, name, None) for name in ("DataFrame", "Series")):
        return functools.partial(_through_arrow, memory_of_polars.look)
    if memory_of_pillow.is_one(kind):
        return functools.partial(_through_arrow, memory_of_pillow.look)
    return None


def _is_arrow(kind: Any) -> bool:
    arrow: Any = sys.modules["pyarrow"]
    if issubclass(kind, arrow.ExtensionArray):  # its storage is asked only
        return True
    bases = (arrow.Array, arrow.ChunkedArray, arrow.Table, arrow.RecordBatch, arrow.Buffer)
    return issubclass(kind, bases) and any(kind is known for known in vars(sys.modules["pyarrow.lib"]).values())


def _of_arrow(thing: Any, found: Blocks) -> None:
    arrow: Any = sys.modules["pyarrow"]
    kind = type(thing)
    if issubclass(kind, arrow.Buffer):
        found.add(*memory_of_arrow.part(thing))
    elif issubclass(kind, arrow.Array):
        array = stored(thing).slice(0)  # as memory_of_arrow does
        for buffer in array.buffers():
            if buffer is not None:
                found.add(*memory_of_arrow.part(buffer))
        if issubclass(type(array), arrow.DictionaryArray):
            _of_arrow(array.dictionary, found)
    elif issubclass(kind, arrow.ChunkedArray):
        for chunk in thing.chunks:
            _of_arrow(chunk, found)
    else:
        for column in thing.slice(0).columns:
            _of_arrow(column, found)


def _of_torch(thing: Any, found: Blocks) -> None:
    """Add the whole storage of a tensor, also of a view; of a sparse one, its parts; and its gradient's."""
    torch: Any = sys.modules["torch"]
    is_plain = type(thing) is torch.UntypedStorage or thing.device.type != "cpu"
    if is_plain or thing.layout is not torch.strided or thing.is_nested:
        memory_of_torch.look(thing, found)
    else:
        memory_of_torch.look(thing.untyped_storage(), found)
    # Python's garbage collector does not see the gradient of a tensor. Others than leaves would warn.
    if type(thing) is not torch.UntypedStorage and thing.is_leaf and thing.grad is not None:
        _of_torch(thing.grad, found)


def _through_arrow(look: Callable[[Any, Blocks], bool], thing: Any, found: Blocks) -> None:
    if not arrow_exports.is_loaded():
        message = f"the {class_name(thing)} tells through Arrow where its data is: type import pyarrow"
        raise TargetError(message)
    look(thing, found)
