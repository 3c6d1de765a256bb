"""Words of objects in memory, many at once: the tables of lists, dicts and sets, and the elements of arrays.

Only members that Python's and numpy's headers make public, or that have been there since Python 3.6, are read: of
``PyListObject``, ``PyDictObject``, ``PySetObject`` and ``PyByteArrayObject`` (Include/cpython), and of
``PyArrayObject_fields`` (numpy/ndarraytypes.h). Tables are tried on objects whose answers are known, and not used
if these are wrong.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.linux.hardware import PAGE_SIZE, user_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WORD = ctypes.sizeof(ctypes.c_void_p)
_HEAD = object.__basicsize__  # of every object: references and type
_ITEMS, _DICT, _VALUES, _SET, _BYTES = (_HEAD + at * WORD for at in (1, 2, 3, 3, 2))  # where the pointers are


@functools.cache
def _memory() -> NDArray[np.uintp]:
    """Return all addresses of this process as words, from the second page on; only objects that are held are read."""
    size = min(user_limit(), 1 << 8 * WORD - 1) - 2 * PAGE_SIZE
    bytes_: Any = (ctypes.c_char * size).from_address(PAGE_SIZE)
    return np.frombuffer(bytes_, np.uintp)


def at(addresses: NDArray[np.uint64], offset: int) -> NDArray[np.uint64]:
    """Return the words at an offset from each address, ``uint64[n]``; the memory there must be held."""
    place = (addresses - np.uint64(PAGE_SIZE) + np.uint64(offset)) // np.uint64(WORD)
    return _memory()[place.astype(np.intp)].astype(np.uint64)


def of_objects(held: NDArray[np.object_]) -> NDArray[np.uint64]:
    """Return the addresses of the objects in an array of references, ``uint64[n]``."""
    bytes_: Any = (ctypes.c_char * held.nbytes).from_address(held.ctypes.data)
    return np.frombuffer(bytes_, np.uintp).astype(np.uint64)


def references(things: list[Any]) -> NDArray[np.object_]:
    """Return a list of objects as an array of references; an assignment would ask each what it is."""
    return np.fromiter(things, np.object_, len(things))


def _has(thing: Any, offset: int, size: int, wanted: int) -> bool:
    """Tell whether the memory that a pointer of an object points to has a word."""
    start = ctypes.c_void_p.from_address(id(thing) + offset).value
    return start is not None and wanted in (ctypes.c_size_t * (size // WORD)).from_address(start)


@functools.cache
def tables() -> dict[type, Callable[[NDArray[np.uint64]], NDArray[np.uint64]]]:
    """Return the functions from objects' addresses to those of their tables; 0 if an object has no own table."""
    mark = object()
    several = [mark] * 40
    known: dict[Any, tuple[Any, int]] = {
        list: (several, _ITEMS),
        dict: ({**dict.fromkeys(range(40)), "mark": mark}, _DICT),
        set: ({*range(40), mark}, _SET),
        frozenset: (frozenset({*range(40), mark}), _SET),
    }
    found: dict[type, Callable[[NDArray[np.uint64]], NDArray[np.uint64]]] = {
        kind: functools.partial(at, offset=offset)
        for kind, (sample, offset) in known.items()
        if _has(sample, offset, kind.__sizeof__(sample) - object.__sizeof__(sample), id(mark))
    }
    text = bytearray(64)
    if ctypes.c_void_p.from_address(id(text) + _BYTES).value == ctypes.addressof(ctypes.c_char.from_buffer(text)):
        found[bytearray] = functools.partial(at, offset=_BYTES)
    if dict in found:
        found[dict] = _unshared
    return found


def _unshared(addresses: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the tables of dicts; of one that shares its keys with others, as instances' do, 0."""
    return np.where(at(addresses, _VALUES) == 0, at(addresses, _DICT), np.uint64(0))


def distinct(words: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each word is for the first time, and for all words which of these it is: ``intp[m], intp[n]``."""
    if len(words) and (words == words[0]).all():  # as it is most often; sorting takes longer
        return np.zeros(1, np.intp), np.zeros(len(words), np.intp)
    _, first, of = np.unique(words, return_index=True, return_inverse=True)
    return first, of


def classes(addresses: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the addresses of objects' classes, ``uint64[n]``: the last word of what all objects begin with."""
    return at(addresses, _HEAD - WORD)


def counted(held: NDArray[np.object_]) -> NDArray[np.int64]:
    """Return how many references there are to objects, ``int64[n]``, with that of the array."""
    if not _counts_are_first():  # Python without a global lock has two counts
        return np.array(list(map(sys.getrefcount, held)), np.int64) - sys.getrefcount(references([object()])[0]) + 1
    # From 3.12 on the count has 32 bits, and of objects that never end it is very large.
    return (at(of_objects(held), 0) & np.uint64(0xFFFF_FFFF)).astype(np.int64)


@functools.cache
def _counts_are_first() -> bool:
    probe = object()
    several = [probe] * 40
    return int(at(np.array([id(probe)], np.uint64), 0)[0]) & 0xFFFF_FFFF == len(several) + 1


def lengths(addresses: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the lengths of texts: the first member of ``PyASCIIObject``, ``int64[n]``."""
    return at(addresses, _HEAD).astype(np.int64)


def elements(addresses: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return where the first elements of numpy's arrays are, ``uint64[n]``."""
    return at(addresses, _HEAD)
