"""`find`: the memory of a Python object's data, by its class, or by protocols that libraries agreed on.

Looking at an object must not change it. So protocols that may compute, copy or consume (``__array__``,
``__arrow_c_stream__``) are not used, and the others have to give the same memory twice.
"""

from __future__ import annotations

import ctypes
import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pte_magic.errors import TargetError, said
from pte_magic.errors.arguments import class_name
from pte_magic.targets import (
    arrow_exports,
    buffers,
    dlpack,
    memory_in_attributes,
    memory_of_arrow,
    memory_of_pandas,
    memory_of_pillow,
    memory_of_polars,
    memory_of_torch,
    numpy_strings,
    object_itself,
)
from pte_magic.targets.blocks import Blocks, NotOfUsersError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

_FUNCTION: Any = ctypes.CFUNCTYPE(None).__base__
_LIBRARIES = (memory_of_arrow.look, memory_of_torch.look, memory_of_polars.look, memory_of_pillow.look)
_POINTERS = "zZPO"  # ctypes' characters for c_char_p, c_wchar_p, c_void_p, py_object


class Memory(NamedTuple):
    """The memory of an object's data.

    Attributes:
        blocks: First address of each block, and first address after it.
        note: A note for the user: data that is not in these blocks, or that they are not the data.
        is_itself: True if the data cannot be found, and these are the object itself, at ``id()``.

    """

    blocks: list[tuple[int, int]]
    note: str
    is_itself: bool


def find(thing: object) -> Memory:
    """Find the memory of an object's data.

    Raises:
        TargetError: The object has no memory, or it is not in this process (a GPU's), or each access makes new data.

    """
    found = Blocks()
    try:
        thing = memory_in_attributes.referent(thing)
        is_itself = not _look(thing, found)
        if is_itself:
            object_itself.add(thing, found)
    except TargetError:
        raise
    except NotOfUsersError as error:
        message = f"the {class_name(thing)} {error}"
        raise TargetError(message) from error
    except Exception as error:  # foreign protocol code runs here and may raise anything; it becomes one line
        # A released memoryview, a closed mmap, a tensor that does not want to be exported: their own words.
        message = f"the {class_name(thing)} gives no access to its memory: {said(error)}"
        raise TargetError(message) from error
    if not found.found:
        message = f"the {class_name(thing)} holds 0 bytes, so there is no page to look at"
        if issubclass(type(thing), pd.RangeIndex):
            message = (
                "the RangeIndex has no array: it is a start, a stop and a step, from which values are made when needed"
            )
        raise TargetError(message)
    return Memory(found.found, "; ".join(found.notes), is_itself)


def memory(thing: object) -> list[tuple[int, int]]:
    """Return first address, and first address after it, of each block of memory with the object's data.

    Raises:
        TargetError: As for `find`.

    """
    return find(thing).blocks


def _look(thing: Any, found: Blocks) -> bool:
    """Add the addresses of an object's data; false if they are not known, or it is the object itself."""
    kind = type(thing)  # never __class__, which may be anything
    if issubclass(kind, np.ndarray):
        _array(thing, found)
    elif issubclass(kind, (type, str)):
        return False
    elif (parts := memory_of_pandas.parts(thing)) is not None:
        return _all(parts, found) is not False
    elif any(look(thing, found) for look in _LIBRARIES) or _protocols(thing, found):
        pass
    else:
        return _all(memory_in_attributes.parts(thing, found), found) or False
    return True


def _all(parts: Iterable[Any], found: Blocks) -> bool | None:
    """Add the addresses of an object's parts; false if none is known, None if there are no parts."""
    is_known = None
    for part in parts:
        if _look(part, found):
            is_known = True
        else:
            found.say(f"the data of its {class_name(part)} is elsewhere")
            is_known = is_known or False
    return is_known


def _array(array: np.ndarray[Any, Any], found: Blocks) -> None:
    """Add the addresses of a numpy array's elements, of its mask, and of texts."""
    plain = np.ndarray.view(array, np.ndarray)  # a subclass may have its own idea of everything
    found.add_strided(plain.ctypes.data, plain.shape, plain.strides, plain.itemsize)
    if plain.dtype.kind == "T":
        numpy_strings.add_text(plain, found)
    elif plain.dtype.hasobject and plain.size:
        found.say("its elements are references; the objects are elsewhere")
    if issubclass(type(array), np.ma.MaskedArray):
        mask = memory_in_attributes.own(array, "_mask")  # numpy's getmask() would evaluate a property of a subclass
        if issubclass(type(mask), np.ndarray):
            _array(np.ndarray.view(mask, np.ndarray), found)


def _protocols(thing: Any, found: Blocks) -> bool:
    """Ask an object by its protocols; false if it has none that may be asked."""
    if _has(thing, "__dlpack_device__"):
        dlpack.check_device(thing)
    elif _has(thing, "__cuda_array_interface__"):
        raise dlpack.elsewhere(thing, "a CUDA GPU")
    if buffers.has(thing):
        _twice(thing, buffers.exported, found)
        if _is_pointer(type(thing)):
            found.say(f"the {class_name(thing)} itself; the memory that it points to is elsewhere")
    elif _has(thing, "__array_interface__"):
        _twice(thing, _interface, found)
    elif _has(thing, "__dlpack__"):
        _twice(thing, dlpack.exported, found)
    elif _has(thing, "__arrow_c_array__"):
        if not arrow_exports.add(thing, found):
            raise _new(thing)
    else:
        return False
    return True


def _has(thing: object, name: str) -> bool:
    """Tell whether an object has an attribute, without asking it: some objects make up every attribute."""
    found = memory_in_attributes.of_class(type(thing), name)
    # One that is made at first need, and then kept, would change the object.
    if found is None or isinstance(found, functools.cached_property):
        return memory_in_attributes.own(thing, name) is not None
    return True


def _is_pointer(kind: Any) -> bool:
    if issubclass(kind, ctypes._SimpleCData):  # noqa: SLF001  (the documented base of ctypes' numbers and pointers)
        return kind._type_ in _POINTERS
    return issubclass(kind, (ctypes._Pointer, _FUNCTION))  # noqa: SLF001  (as above)


def _twice(thing: object, exported: Callable[[Any, Blocks], AbstractContextManager[None]], found: Blocks) -> None:
    """Add the exported memory of an object, if a second export gives the same while the first is held.

    Raises:
        TargetError: Each export makes new data.

    """
    first, second = Blocks(), Blocks()
    with exported(thing, first), exported(thing, second):
        is_same = first.found == second.found
    if not is_same:
        raise _new(thing)
    found.join(first)


def _new(thing: object) -> TargetError:
    return TargetError(
        f"the {class_name(thing)} makes new data at each access, so there is no memory to "
        "look at; keep its data, such as a = numpy.asarray(x), and look at that"
    )


@contextmanager
def _interface(thing: Any, found: Blocks) -> Iterator[None]:
    array = np.asarray(_Interface(thing.__array_interface__))
    _array(array, found)
    yield
    del array


class _Interface:
    """An object with only numpy's protocol, so that numpy uses no other."""

    def __init__(self, given: object) -> None:
        self.__array_interface__ = given
