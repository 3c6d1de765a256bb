"""Memory of the Python object itself: the one piece that is allocated around ``id()``."""

from __future__ import annotations

import ctypes
import gc
import io
import sys
import types
from typing import TYPE_CHECKING, Any

from pte_magic.errors.arguments import class_name
from pte_magic.targets.memory_in_attributes import mro

if TYPE_CHECKING:
    from pte_magic.targets.blocks import Blocks

_WHOLE = (int, float, complex, bool, str, type(None), type(...), type(NotImplemented), object)  # nothing is elsewhere
_STREAM: Any = io.IOBase.__mro__[1]  # that one is abstract, and would ask a metaclass
_POINTER = ctypes.sizeof(ctypes.c_void_p)


def add(thing: Any, found: Blocks) -> None:
    """Add the addresses of the object itself, and a note about data that is elsewhere."""
    kind: Any = type(thing)
    members = map(type.__dict__["__dict__"].__get__, mro(kind))  # a metaclass may have its own ideas
    sizes = [known["__sizeof__"] for known in members if "__sizeof__" in known]
    # Those that classes define in Python are not asked: pandas' compute the size of all values.
    measure = next(size for size in sizes if isinstance(size, types.MethodDescriptorType))
    # object's own counts the items that lie inline and no memory that only hangs on it (a list's). Of types and
    # generators it counts what is not there: their number of items is not where it looks.
    size = min(object.__sizeof__(thing), measure(thing))
    # The garbage collector's header lies before id(), and belongs to the same block.
    head = sys.getsizeof(thing) - measure(thing) if measure is sizes[0] else 0
    if issubclass(kind, str):
        copy = str.__getitem__(thing, slice(1)) + str.__getitem__(thing, slice(1, None))
        size = copy.__sizeof__()  # of the object itself there may be UTF-8 elsewhere, which is counted, too
        if kind is not str:
            size = object.__sizeof__(thing)
            found.add(*_characters(thing, copy))
    elif not any(kind is whole for whole in _WHOLE):
        elsewhere = f"; {what}" if (what := _what_else(thing)) else ""
        found.say(f"the {class_name(thing)} object itself, {head + size:,} bytes{elsewhere}")
    found.add(id(thing) - head, head + size)


def _characters(text: Any, copy: str) -> tuple[int, int]:
    """Return address and size of the text of a subclass of str; only str itself has it inline.

    The address is the last member of PyUnicodeObject (Include/cpython/unicodeobject.h).
    """
    head = str.__basicsize__ - _POINTER  # of a copy that is not all ASCII
    width = 1 if copy.isascii() else (copy.__sizeof__() - head) // (len(copy) + 1)
    start = ctypes.c_void_p.from_address(id(text) + head).value
    return start or 0, (len(copy) + 1) * width  # with the zero at the end


def _what_else(thing: object) -> str:
    """Return the note about an object's data that cannot be found; empty if there is none."""
    kind = type(thing)
    names = {name for base in mro(kind) for name in type.__dict__["__dict__"].__get__(base)}
    if "__array__" in names:
        return "its data is elsewhere, or made when numpy.asarray() asks for it"
    if "__arrow_c_stream__" in names:
        return "its data is elsewhere, or made when pyarrow.table() asks for it, perhaps only once"
    if issubclass(kind, _STREAM):  # it is an Iterator, but what it gives may be there, as io.StringIO's text
        return "the data that it reads or writes is elsewhere"
    if {"__iter__", "__next__"} <= names or kind is range:
        return "its items are made on demand"
    if "__iter__" in names:
        return "its items are elsewhere"
    # One without references, such as a datetime, may hold all of its value. Its class is not what it refers to, and
    # neither is a dictionary without attributes, or with that one that Cython writes there.
    refers = any(
        one is not kind and (type(one) is not dict or len(one) > ("__module__" in one))
        for one in gc.get_referents(thing)
    )
    return "the objects that it refers to are elsewhere" if refers else ""
