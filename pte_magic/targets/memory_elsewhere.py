"""Memory that objects hold outside of themselves: tables, elements of arrays, mappings, buffers of libraries.

Other than `objects.find`, which looks for the data that an object shows, this finds all that it keeps: of a slice of
Arrow's, the whole buffers; of a tensor, its whole storage. Only classes of Python and of known libraries are asked.
"""

from __future__ import annotations

import array
import ctypes
import functools
import io
import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.errors import TargetError, said
from pte_magic.linux.hardware import untagged
from pte_magic.targets import (
    buffers,
    kept_by_libraries,
    memory_in_attributes,
    numpy_arrays,
    numpy_strings,
    object_words,
)
from pte_magic.targets.blocks import Blocks, NotOfUsersError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Found = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.intp]]  # where, bytes, and of which object

_C_DATA: Any = ctypes.Array.__mro__[1]  # ctypes' base of all that lies in C's memory has no public name
_EXPORTERS = (mmap.mmap, array.array, _C_DATA)


def of(kind: Any) -> Callable[[Sequence[Any], NDArray[np.uint64], dict[int, str]], Found] | None:
    """Return the function that finds such memory of objects of a class; None if they have none that can be found.

    The function takes the objects, their addresses, and a dictionary for notes by the object's place among them.
    """
    if issubclass(kind, np.ndarray):
        return _of_arrays
    for base, table in object_words.tables().items():
        if issubclass(kind, base):
            return functools.partial(_of_tables, base, table)
    look = (
        _exported if issubclass(kind, _EXPORTERS) else _stream if kind is io.BytesIO else kept_by_libraries.look(kind)
    )
    return functools.partial(_one_by_one, look) if look else None


def _of_tables(base: Any, table: Any, things: Sequence[Any], ids: NDArray[np.uint64], _: dict[int, str]) -> Found:
    sizes = np.fromiter(map(base.__sizeof__, things), np.int64, len(things))
    sizes -= object.__sizeof__(things[0])  # all objects of a class have as many bytes for themselves
    starts = table(ids)
    at = np.flatnonzero((sizes > 0) & (starts > 0))
    return starts[at], sizes[at], at


def _of_arrays(things: Sequence[Any], ids: NDArray[np.uint64], notes: dict[int, str]) -> Found:
    """Find the elements of numpy's arrays; those of a view of another array belong to that one."""
    is_view = numpy_arrays.are_views(things, ids)
    sizes = numpy_arrays.bytes_of(things)
    at = np.flatnonzero(~is_view & (sizes > 0))
    is_odd = numpy_arrays.have_dtype(things, ids, lambda dtype: dtype.kind == "T")
    views = np.flatnonzero(is_view).tolist()
    foreign = [one for one in views if not issubclass(type(numpy_arrays.BASE(things[one])), np.ndarray)]
    is_odd[foreign] = True
    odd = np.flatnonzero(is_odd)
    of_odd: dict[int, str] = {}
    starts, more, of_which = _one_by_one(_of_array, [things[one] for one in odd.tolist()], ids, of_odd)
    notes |= {int(odd[one]): note for one, note in of_odd.items()}
    return (
        np.concatenate([object_words.elements(ids)[at], starts]),
        np.concatenate([sizes[at], more]),
        np.concatenate([at, odd[of_which]]),
    )


def _of_array(thing: Any, found: Blocks) -> None:
    """Add the elements of an array whose memory is not numpy's, and texts that are outside of elements."""
    plain = np.ndarray.view(thing, np.ndarray)
    found.add_strided(plain.ctypes.data, plain.shape, plain.strides, plain.itemsize)
    if plain.dtype.kind == "T":
        numpy_strings.add_text(plain, found)


def _exported(thing: Any, found: Blocks) -> None:
    with buffers.exported(thing, found):
        pass


def _stream(thing: Any, found: Blocks) -> None:
    for part in memory_in_attributes.parts(thing, found):
        _exported(part, found)


def _one_by_one(
    look: Callable[[Any, Blocks], None], things: Sequence[Any], _: NDArray[np.uint64], notes: dict[int, str]
) -> Found:
    starts, sizes, of_which = list[int](), list[int](), list[int]()
    for at, thing in enumerate(things):
        found = Blocks()
        try:
            look(thing, found)
        except (TargetError, NotOfUsersError) as error:  # on a device, closed
            notes[at] = said(error)
        except Exception:  # noqa: BLE001, S112  (a library's object that is half made, or torn down: it is not known)
            continue
        if found.notes:
            notes.setdefault(at, "; ".join(found.notes))
        starts += [untagged(start) for start, _ in found.found]
        sizes += [end - start for start, end in found.found]
        of_which += [at] * len(found.found)
    return np.array(starts, np.uint64), np.array(sizes, np.int64), np.array(of_which, np.intp)
