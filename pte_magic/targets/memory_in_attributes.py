"""Objects whose memory belongs to other objects, which their public attributes hold.

No property of an unknown class is evaluated, and no method is called that computes, copies or reads a file.
"""

from __future__ import annotations

import array
import ctypes
import gc
import io
import mmap
import sys
import types
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import class_name
from pte_magic.errors.escapes import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pte_magic.targets.blocks import Blocks

_DATA = (
    np.ndarray,
    bytes,
    bytearray,
    memoryview,
    array.array,
    mmap.mmap,
    ctypes.Array,
    pd.DataFrame,
    pd.Series,
    pd.Index,
)
_OTHER_DATA = (
    ("pyarrow", "Array"),
    ("pyarrow", "ChunkedArray"),
    ("pyarrow", "Table"),
    ("pyarrow", "RecordBatch"),
    ("torch", "Tensor"),
)
_MRO = type.__dict__["__mro__"].__get__  # a metaclass may have its own ideas
_DICTIONARY = type.__dict__["__dictoffset__"].__get__
_MEMBERS = type.__dict__["__dict__"].__get__
_NAME = type.__dict__["__name__"].__get__
_SPARSE = ("data", "indices", "indptr", "coords", "offsets", "rows")  # of scipy's csr, csc, bsr, coo, dia and lil
_SEVERAL = (tuple, list)
_NAMED = 4  # attributes that a note names at most


def referent(thing: Any) -> Any:
    """Return the referent of a weak proxy; other objects are returned unchanged.

    Raises:
        ReferenceError: It is gone.

    """
    if not is_one(type(thing), weakref.ProxyTypes):
        return thing
    # Any attribute of a proxy is the object's, which may compute it. The referent is the first member of
    # PyWeakReference (Include/cpython/weakrefobject.h), and None when that is gone.
    held = ctypes.py_object.from_address(id(thing) + object.__basicsize__).value
    if held is None:
        message = "weakly-referenced object no longer exists"
        raise ReferenceError(message)
    return held


def is_one(kind: type, classes: Iterable[type]) -> bool:
    """Tell whether a class is one of several, without asking its metaclass, as ``in`` does."""
    return any(kind is one for one in classes)


def is_a(kind: type, module: str, name: str) -> bool:
    """Tell whether a class is, or derives from, a class of a module that need not be imported yet."""
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and is_one(found, mro(kind))  # issubclass() of an abstract class asks a metaclass


def own(thing: object, name: str) -> Any:
    """Return an object's attribute if no code runs for it, as for a property or `__getattr__`; else None.

    ``vars()`` would leave something behind, too: the dictionary that objects get only when it is asked for.
    """
    found = type(of_class(type(thing), name))
    if found is not types.MemberDescriptorType and of_class(found, "__get__") is not None:  # that one only reads a slot
        return None
    try:
        return object.__getattribute__(thing, name)
    except AttributeError:
        return None


def of_class(kind: type, name: str) -> Any:
    """Return the raw attribute of a class; None if it has none of that name."""
    return next((_MEMBERS(base)[name] for base in mro(kind) if name in _MEMBERS(base)), None)


def mro(kind: type) -> tuple[type, ...]:
    """Return a class and its bases, without asking its metaclass."""
    found: tuple[type, ...] = _MRO(kind)
    return found


def parts(thing: Any, found: Blocks) -> Iterator[Any]:
    """Yield the holders of an object's data, each to be used before the next; nothing if they are not known."""
    kind = type(thing)
    if issubclass(kind, io.BytesIO):
        yield from _of_bytes(thing)
    elif is_a(kind, "multiprocessing.shared_memory", "SharedMemory"):
        yield _open(thing)
    elif is_a(kind, "multiprocessing.shared_memory", "ShareableList"):
        yield _open(own(thing, "shm"))
    elif is_a(kind, "multiprocessing.sharedctypes", "SynchronizedBase"):
        yield own(thing, "_obj")
    elif any(is_a(kind, "xarray", name) for name in ("Dataset", "DataArray", "Variable")):
        for variable in _variables(thing):
            yield _of_variable(variable)
    elif any(is_a(kind, "scipy.sparse", name) for name in ("sparray", "spmatrix")):
        for value in (own(thing, name) for name in _SPARSE):
            yield from value if isinstance(value, tuple) else () if value is None else [value]
    elif not issubclass(kind, (type, types.ModuleType, types.FunctionType, BaseException)):
        yield from _of_attributes(thing, found)


def _open(shared: Any) -> memoryview:
    view: memoryview | None = own(shared, "_buf")
    if view is None:
        message = f"the {class_name(shared)} was closed, so it is not mapped any more"
        raise TargetError(message)
    return view


def _of_bytes(stream: io.BytesIO) -> Iterator[Any]:
    # Until something is written, a stream made of bytes uses these, and getbuffer() would copy them; what is its own
    # it counts in its size, and getvalue() might cut that (Modules/_io/bytesio.c).
    if io.BytesIO.__sizeof__(stream) > object.__sizeof__(stream):
        with io.BytesIO.getbuffer(stream) as view:
            yield view
    else:
        yield io.BytesIO.getvalue(stream)


def _variables(thing: Any) -> list[Any]:
    """Return the variables of an object of xarray, with the coordinates."""
    # The public attributes are properties, which a subclass may have otherwise.
    if is_a(type(thing), "xarray", "Dataset"):
        return [*(own(thing, "_variables") or {}).values()]
    if is_a(type(thing), "xarray", "DataArray"):
        return [own(thing, "_variable"), *(own(thing, "_coords") or {}).values()]
    return [thing]


def _of_variable(variable: Any) -> Any:
    # The public attribute reads what is not in memory yet, and may keep it.
    data = own(variable, "_data")
    while _is_wrapper(type(data)):
        data = data.array
    return data


def _is_wrapper(kind: type) -> bool:
    return _MEMBERS(kind).get("__module__") == "xarray.core.indexing" and not _NAME(kind).startswith("Lazily")


def _of_attributes(thing: Any, found: Blocks) -> Iterator[Any]:
    """Yield the arrays in an object's public attributes; no property is evaluated."""
    values: dict[str, Any] = {}
    unnamed = []
    for name, value in _attributes(thing):
        if not name and _is_data(value):
            unnamed.append(value)
        elif name and not name.startswith("_") and _is_data(value):
            values[name] = value
    names = [*values, *["attributes whose names are not known"] * bool(unnamed)]
    if names:
        more = ", …" if len(names) > _NAMED else ""
        found.say(f"of the {class_name(thing)}: {', '.join(map(visible, names[:_NAMED]))}{more}")
    for value in [*values.values(), *unnamed]:
        yield from value if is_one(type(value), _SEVERAL) else [value]


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield attributes with their names; with an empty name those of which only the value can be had.

    Since 3.11 an object may have attributes without a dictionary (``Objects/object_layout.md`` of CPython). To ask for
    it makes one, which stays, and takes memory. The garbage collector's function gives their values.
    """
    kind, held = type(thing), [one for one in _referred(thing) if _is_data(one)]
    if _DICTIONARY(kind) and held:
        # Names are in the code that sets them.
        functions = (
            one for base in mro(kind) for one in _MEMBERS(base).values() if isinstance(one, types.FunctionType)
        )
        names = dict.fromkeys(name for one in functions for name in one.__code__.co_names)
        values = {name: value for name in names if (value := own(thing, name)) is not None}
        values |= _of_dictionary(thing)
        yield from values.items()
        known = {id(value) for value in values.values()} | {id(value) for _, value in _slots(thing)}
        yield from (("", one) for one in held if id(one) not in known)
    yield from _slots(thing)


def _of_dictionary(thing: Any) -> dict[str, Any]:
    """Return the attributes in the dictionary that an object already has; empty if it has none yet."""
    for one in gc.get_referents(thing):
        # A dictionary that is an attribute may look like it, but its items are not the object's.
        if type(one) is dict and all(type(name) is str and own(thing, name) is one[name] for name in [*one]):
            return dict.copy(one)
    return {}


def _slots(thing: Any) -> Iterator[tuple[str, Any]]:
    for base in mro(type(thing)):
        if "__slots__" in _MEMBERS(base):
            for name, member in _MEMBERS(base).items():
                if isinstance(member, types.MemberDescriptorType):
                    with suppress(AttributeError):  # not set
                        yield name, member.__get__(thing)


def _referred(thing: Any) -> Iterator[Any]:
    """Yield the objects that an object refers to, and those in its dictionaries, which may hold its attributes."""
    for one in gc.get_referents(thing):
        yield from one.values() if type(one) is dict else [one]


def _is_data(value: Any) -> bool:
    kind = type(value)
    if is_one(kind, _SEVERAL):
        return bool(value) and all(not is_one(type(one), _SEVERAL) and _is_data(one) for one in value)
    return issubclass(kind, _DATA) or any(is_a(kind, *name) for name in _OTHER_DATA)
