"""Where a Python object keeps its data, through the protocols that libraries agreed on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from pte_magic import dlpack
from pte_magic.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST_DEVICES = (1, 3, 11)  # kDLCPU, kDLCUDAHost, kDLROCMHost of dlpack.h
_DEVICES = {2: "a CUDA GPU", 4: "an OpenCL device", 7: "a Vulkan device", 8: "a Metal GPU", 10: "a ROCm GPU"}


def memory(thing: object) -> list[tuple[int, int]]:
    """Return first address and first address not used of each block of memory that holds the object's data.

    Tried in this order: pandas' and Arrow's columns, DLPack, the buffer protocol, ``__array_interface__``; else the
    object itself, as far as it lies at ``id()``.

    Raises:
        TargetError: The object has no memory, or it is not in this process (a GPU's).

    """
    try:
        blocks = list(_blocks(thing))
    except TargetError:
        raise
    except Exception as error:  # foreign protocol code runs here and may raise anything; it becomes one line
        # A released memoryview, a closed mmap, a tensor that does not want to be exported: their own words.
        message = f"the {_name(thing)} gives no access to its memory: {error}"
        raise TargetError(message) from error
    blocks = [(start, end) for start, end in blocks if end > start]
    if not blocks:
        message = f"the {_name(thing)} holds 0 bytes, so there is no page to look at"
        raise TargetError(message)
    return blocks


def _blocks(thing: Any) -> Iterator[tuple[int, int]]:
    pandas, arrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if isinstance(thing, np.ndarray):
        yield _bounds(thing)
    elif pandas and isinstance(thing, (pandas.DataFrame, pandas.Series, pandas.Index)):
        yield from _pandas(thing)
    elif arrow and isinstance(thing, (arrow.Table, arrow.RecordBatch, arrow.ChunkedArray, arrow.Array)):
        yield from _arrow(thing)
    elif isinstance(thing, type):
        yield _itself(thing)
    elif hasattr(thing, "__dlpack_device__"):
        yield _dlpack(thing)
    elif hasattr(thing, "__cuda_array_interface__"):
        raise _elsewhere(thing, "a CUDA GPU")
    elif hasattr(thing, "__arrow_c_stream__") or hasattr(thing, "__arrow_c_array__"):
        yield from _arrow(_through_arrow(thing))
    else:
        yield _buffer(thing) or _itself(thing)


def _bounds(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return where a numpy array's elements lie; of a view with gaps, from its first to its last byte."""
    start, end = byte_bounds(array)
    return (start, end) if array.size else (start, start)


def _buffer(thing: Any) -> tuple[int, int] | None:
    if hasattr(thing, "__array_interface__"):
        return _bounds(np.asarray(thing))
    try:
        with memoryview(thing) as view:
            if view.nbytes == 0:
                return (0, 0)
            if view.contiguous:
                start: int = np.frombuffer(view, np.uint8).ctypes.data
                return (start, start + view.nbytes)
            return _bounds(np.asarray(view))
    except TypeError:  # no buffer protocol
        return None


def _dlpack(thing: Any) -> tuple[int, int]:
    device = int(thing.__dlpack_device__()[0])
    if device not in _HOST_DEVICES:
        raise _elsewhere(thing, _DEVICES.get(device, f"device type {device}"))
    if getattr(thing, "requires_grad", False):  # PyTorch exports no tensor that records gradients
        thing = thing.detach()
    return dlpack.bounds(thing)


def _pandas(thing: Any) -> Iterator[tuple[int, int]]:
    if hasattr(thing, "columns"):
        for at in range(thing.shape[1]):
            yield from _pandas(thing.iloc[:, at])
        return
    array = thing.array
    # Where the data lies is in private attributes only: every public way to it may make a copy, and the pages of a
    # copy would be the wrong answer. Each is asked for before it is used;
    # without any, a column is refused unless numpy is given the same memory twice.
    if hasattr(array, "_pa_array"):  # Arrow's own, and strings
        yield from _arrow(array._pa_array)  # noqa: SLF001  (see above)
    elif hasattr(array, "codes"):  # categories
        yield _bounds(array.codes)
    elif isinstance(getattr(array, "_ndarray", None), np.ndarray):  # numpy's own, times
        yield _bounds(array._ndarray)  # noqa: SLF001  (see above)
    elif hasattr(array, "_data") and hasattr(array, "_mask"):  # masked: no protocol exports both without a copy
        yield _bounds(array._data)  # noqa: SLF001  (see above)
        yield _bounds(array._mask)  # noqa: SLF001  (see above)
    else:
        first, second = np.asarray(thing), np.asarray(thing)
        if first.ctypes.data != second.ctypes.data:
            message = f"a column of dtype {thing.dtype} has no single array behind it; name one of its parts"
            raise TargetError(message)
        yield _bounds(first)


def _arrow(thing: Any) -> Iterator[tuple[int, int]]:
    """Go down from a table to its columns, their chunks, and the buffers of these."""
    if hasattr(thing, "buffers"):
        yield from ((buffer.address, buffer.address + buffer.size) for buffer in thing.buffers() if buffer)
    else:
        for part in thing.chunks if hasattr(thing, "chunks") else thing.columns:
            yield from _arrow(part)


def _through_arrow(thing: Any) -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415  (optional: only for objects that export Arrow)
    except ImportError:
        message = f"the {_name(thing)} exports its data through Arrow; type `pip install pyarrow`"
        raise TargetError(message) from None
    if hasattr(thing, "__arrow_c_array__"):
        return pa.array(thing)
    return pa.table(thing) if hasattr(thing, "columns") else pa.chunked_array(thing)


def _itself(thing: object) -> tuple[int, int]:
    """Return where the object lies that Python keeps for `thing`: what is allocated in one piece at ``id()``."""
    # object's own __sizeof__ counts the items that lie inline and no memory that only hangs on it (a list's).
    size = str.__sizeof__(thing) if isinstance(thing, str) else object.__sizeof__(thing)
    # Of types and generators it counts what is not there: their number of items is not where it looks.
    return id(thing), id(thing) + min(size, sys.getsizeof(thing, size))


def _elsewhere(thing: object, where: str) -> TargetError:
    return TargetError(
        f"the {_name(thing)} lies in the memory of {where}, which this process' page tables do not map; "
        "copy it to the CPU first, such as by x.cpu()"
    )


def _name(thing: object) -> str:
    return type(thing).__name__
