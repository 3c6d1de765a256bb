"""Memory of Arrow's tables, arrays and values: of each buffer, the part that the array has of it.

Source: Arrow's columnar format. `pyarrow.Array.buffers` gives whole buffers, of which a slice has a part only.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pte_magic.targets.blocks import Blocks

_VIEW = np.dtype([("size", "<i4"), ("start", "V4"), ("buffer", "<i4"), ("offset", "<i4")])
_INLINE = 12  # bytes of a text that lie within its view


def look(thing: Any, found: Blocks) -> bool:
    """Add the addresses of an object of pyarrow; false if it has no buffers."""
    arrow: Any = sys.modules.get("pyarrow")
    kind = type(thing)
    if not hasattr(arrow, "UnionArray"):  # not imported, or only half
        return False
    # A slice shares the buffers, but not what pyarrow keeps with an array once it was asked for its children.
    if issubclass(kind, arrow.Array):
        _array(stored(thing).slice(0), found)
    elif issubclass(kind, arrow.ChunkedArray):
        for chunk in thing.chunks:
            look(chunk, found)
    elif issubclass(kind, (arrow.Table, arrow.RecordBatch)):
        for column in thing.slice(0).columns:
            look(column, found)
    elif issubclass(kind, (arrow.BinaryScalar, arrow.ListScalar)):
        if thing.is_valid:
            _array(thing.values, found) if hasattr(thing, "values") else found.add(*part(thing.as_buffer()))
    else:
        return False
    return True


def _array(array: Any, found: Blocks) -> None:
    array = stored(array)
    kind, count, buffers = _name(array.type), len(array), array.buffers()
    if kind == "DICTIONARY":
        _array(array.indices, found)
        _array(array.dictionary, found)
    elif count:
        _bits(buffers[0], array.offset, count, 1, found)
        if look := _LOOKS.get(kind):
            look(array, found)
        elif kind != "NA":
            _bits(buffers[1], array.offset, count, array.type.bit_width, found)


def _texts(array: Any, found: Blocks) -> None:
    start, end = _offsets(array, found)
    _bits(array.buffers()[2], start, end - start, 8, found)


def _lists(array: Any, found: Blocks) -> None:
    start, end = _offsets(array, found)
    _array(_slice(array.values, start, end - start), found)


def _list_views(array: Any, found: Blocks) -> None:
    dtype = "<i8" if _name(array.type).startswith("LARGE") else "<i4"
    starts, sizes = (_numbers(buffer, dtype, array.offset, len(array), found) for buffer in array.buffers()[1:3])
    _used(array.values, starts[sizes > 0], (starts + sizes)[sizes > 0], found)


def _fixed_lists(array: Any, found: Blocks) -> None:
    size = array.type.list_size
    _array(_slice(array.values, array.offset * size, len(array) * size), found)


def _runs(array: Any, found: Blocks) -> None:
    at, runs = array.find_physical_offset(), array.find_physical_length()
    _array(array.run_ends.slice(at, runs), found)
    _array(_slice(array.values, at, runs), found)


def _offsets(array: Any, found: Blocks) -> tuple[int, int]:
    """Add the offsets of texts or lists, and return the first start and the last end."""
    wide = 8 if _name(array.type).startswith("LARGE") else 4
    numbers = _numbers(array.buffers()[1], f"<i{wide}", array.offset, len(array) + 1, found)
    return int(numbers[0]), int(numbers[-1])


def _views(array: Any, found: Blocks) -> None:
    """Add 16 bytes for each text, and the longer texts, wherever they lie."""
    _, own, *others = array.buffers()
    views = _numbers(own, _VIEW, array.offset, len(array), found)
    longer = views[(views["size"] > _INLINE) & array.is_valid().to_numpy(zero_copy_only=False)]
    for at, buffer in enumerate(others):
        inside = longer[longer["buffer"] == at]
        starts = inside["offset"].astype(np.uint64) + np.uint64(buffer.address)
        found.add_scattered(starts, starts + inside["size"].astype(np.uint64))


def _fields(array: Any, found: Blocks) -> None:
    """Add the children of a structure; pyarrow returns them sliced like the structure."""
    for at in range(array.type.num_fields):
        _array(array.field(at), found)


def _sparse_union(array: Any, found: Blocks) -> None:
    _numbers(array.buffers()[1], "i1", array.offset, len(array), found)
    _fields(array, found)


def _dense_union(array: Any, found: Blocks) -> None:
    _, codes, places = array.buffers()[:3]
    codes = _numbers(codes, "i1", array.offset, len(array), found)
    places = _numbers(places, "<i4", array.offset, len(array), found)
    for at, code in enumerate(array.type.type_codes):
        used = places[codes == code]
        _used(array.field(at), used, used + 1, found)


def _used(child: Any, starts: NDArray[Any], ends: NDArray[Any], found: Blocks) -> None:
    """Add the used part of a child: from its first used value to the last."""
    if len(starts):
        first = int(starts.min())
        _array(_slice(child, first, int(ends.max()) - first), found)


def _slice(array: Any, first: int, count: int) -> Any:
    return stored(array).slice(first, count)


def stored(array: Any) -> Any:
    """Return the storage of an array of an extension type, without asking its class, which may be foreign."""
    arrow: Any = sys.modules["pyarrow"]
    while issubclass(type(array), arrow.ExtensionArray):
        array = arrow.ExtensionArray.storage.__get__(array)
    return array


def _numbers(buffer: Any, dtype: Any, first: int, count: int, found: Blocks) -> NDArray[Any]:
    """Add a part of a buffer, and return it as an array."""
    dtype = np.dtype(dtype)
    _bits(buffer, first, count, 8 * dtype.itemsize, found)
    return np.frombuffer(buffer, dtype, count, first * dtype.itemsize)


def _bits(buffer: Any, first: int, count: int, width: int, found: Blocks) -> None:
    """Add the bytes of values of `width` bits; the buffer may be missing."""
    if buffer is not None and count:
        start, _ = part(buffer)
        begin, end = first * width // 8, -(-(first + count) * width // 8)
        found.add(start + begin, end - begin)


def part(buffer: Any) -> tuple[int, int]:
    """Return address and size of a buffer; raises TargetError if it is not in this process."""
    if not buffer.is_cpu:
        message = f"its Arrow buffers lie in the memory of {buffer.device}, which this process' page tables do not map"
        raise TargetError(message)
    return buffer.address, buffer.size


def _name(kind: Any) -> str:
    """Return the name of a type, as in Arrow's ``Type::type``, such as LARGE_STRING."""
    return _names().get(kind.id, "")


@functools.cache
def _names() -> dict[int, str]:
    types = vars(sys.modules["pyarrow.lib"])
    return {number: name.removeprefix("Type_") for name, number in types.items() if name.startswith("Type_")}


_LOOKS: dict[str, Callable[[Any, Blocks], None]] = {
    **dict.fromkeys(("STRING", "BINARY", "LARGE_STRING", "LARGE_BINARY"), _texts),
    **dict.fromkeys(("STRING_VIEW", "BINARY_VIEW"), _views),
    **dict.fromkeys(("LIST", "LARGE_LIST", "MAP"), _lists),
    **dict.fromkeys(("LIST_VIEW", "LARGE_LIST_VIEW"), _list_views),
    "FIXED_SIZE_LIST": _fixed_lists,
    "STRUCT": _fields,
    "SPARSE_UNION": _sparse_union,
    "DENSE_UNION": _dense_union,
    "RUN_END_ENCODED": _runs,
}
