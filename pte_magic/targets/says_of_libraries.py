"""The words of objects of Arrow, polars, PyTorch, scipy, xarray and Pillow about themselves: types and shapes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from pte_magic.errors.cut import cut
from pte_magic.targets import arrow_exports, memory_in_attributes, memory_of_pillow
from pte_magic.text.units import counted

_LONGEST = 32  # characters of a type
_DTYPE, _SHAPE = (np.ndarray.__dict__[name] for name in ("dtype", "shape"))


def typed(dtype: Any, shape: Any) -> str:
    """Return a type, cut if it is long, and a shape."""
    return f"{cut(str(dtype), _LONGEST)} {list(shape)}"


def table(rows: int, columns: int) -> str:
    """Return how large a table is."""
    return f"{counted(rows, 'row')} x {counted(columns, 'column')}"


def of(thing: Any) -> str:
    """Return the words; empty if the class is not known. Only the libraries' own classes are asked."""
    return next((words for one in (_of_arrow, _of_polars, _of_torch, _of_others) if (words := one(thing))), "")


def base(thing: Any) -> Any:
    """Return the tensor that a tensor is a view of; None if it is not one."""
    if not _is_tensor(type(thing)) or not thing._is_view():  # noqa: SLF001  (PyTorch has no public name for it)
        return None
    return thing._base  # noqa: SLF001  (documented in PyTorch's "Tensor Views", which has no other name for it)


def _of_arrow(thing: Any) -> str:
    arrow: Any = sys.modules.get("pyarrow")
    kind: Any = type(thing)
    if not arrow_exports.is_loaded() or all(kind is not one for one in vars(sys.modules["pyarrow.lib"]).values()):
        return ""
    if issubclass(kind, (arrow.Table, arrow.RecordBatch)):
        return table(thing.num_rows, thing.num_columns)
    return typed(thing.type, [len(thing)]) if issubclass(kind, (arrow.Array, arrow.ChunkedArray)) else ""


def _of_polars(thing: Any) -> str:
    polars, kind = sys.modules.get("polars"), type(thing)
    if kind is getattr(polars, "DataFrame", None):
        return table(*thing.shape)
    return typed(thing.dtype, thing.shape) if kind is getattr(polars, "Series", None) else ""


def _of_torch(thing: Any) -> str:
    return typed(str(thing.dtype).removeprefix("torch."), thing.shape) if _is_tensor(type(thing)) else ""


def _is_tensor(kind: Any) -> bool:
    torch: Any = sys.modules.get("torch")
    return hasattr(torch, "jagged") and any(kind is one for one in (torch.Tensor, torch.nn.Parameter))


def _of_others(thing: Any) -> str:
    kind = type(thing)
    if memory_of_pillow.is_one(kind):
        size = memory_in_attributes.own(thing, "_size")
        return f"{memory_in_attributes.own(thing, '_mode')} {' x '.join(map(str, size))}" if type(size) is tuple else ""
    if memory_in_attributes.is_a(kind, "xarray", "Dataset"):
        variables = memory_in_attributes.own(thing, "_variables")
        return counted(len(variables), "variable") if type(variables) is dict else ""
    if memory_in_attributes.is_a(kind, "xarray", "DataArray"):
        thing = memory_in_attributes.own(thing, "_variable")
    if memory_in_attributes.is_a(type(thing), "xarray", "Variable"):
        return _of_array(memory_in_attributes.own(thing, "_data"))
    if any(memory_in_attributes.is_a(kind, "scipy.sparse", name) for name in ("sparray", "spmatrix")):
        shape, data = memory_in_attributes.own(thing, "_shape"), memory_in_attributes.own(thing, "data")
        dtype = memory_in_attributes.own(thing, "dtype")  # of lil and dok; of others it is that of their elements
        if dtype is None and issubclass(type(data), np.ndarray):
            dtype = _DTYPE.__get__(data)
        return typed("" if dtype is None else dtype, shape).lstrip() if type(shape) is tuple else ""
    return ""


def _of_array(array: Any) -> str:
    return typed(_DTYPE.__get__(array), _SHAPE.__get__(array)) if issubclass(type(array), np.ndarray) else ""
