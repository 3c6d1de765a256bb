"""`ObjectMemory`: the memory of many objects, by their numbers in a graph; few bytes are kept for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.targets import memory_elsewhere, numpy_arrays, object_words, sizes_by_class
from pte_magic.targets.disjoint import touching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pte_magic.targets.disjoint import Ranges
    from pte_magic.targets.sizes_by_class import Kind

    _Numbers = NDArray[np.int32]

_BLOCK = 16  # bytes: ALIGNMENT of Objects/obmalloc.c, MALLOC_ALIGNMENT of glibc


class Objects(NamedTuple):
    """Objects whose numbers follow each other, and what is known of their own memory.

    Attributes:
        held: References to them.
        first: The first of their numbers.
        head: Bytes before ``id()`` that belong to each, ``uint8[n]``.
        blocks: Blocks of 16 bytes from ``id()`` on, ``uint32[n]``; 0 if they belong to no variable.

    """

    held: NDArray[np.object_]
    first: int
    head: NDArray[np.uint8]
    blocks: NDArray[np.uint32]


class ObjectMemory:
    """The memory of objects: their own, and what they hold elsewhere.

    Attributes:
        views: Arrays of numpy that show another one's memory, by their numbers, and the bytes of their elements:
            ``int32[a], int64[a]``, in parts.
        notes: Remarks about the memory of an object, by its number.

    """

    def __init__(self) -> None:
        self.views: list[tuple[_Numbers, NDArray[np.int64]]] = []
        self.notes: dict[int, str] = {}
        self._objects: list[Objects] = []
        self._elsewhere: list[tuple[NDArray[np.uint64], NDArray[np.unsignedinteger[Any]], _Numbers]] = []

    def begin(self, held: NDArray[np.object_], first: int) -> Objects:
        """Make room for objects with consecutive numbers; `add` fills it."""
        some = Objects(held, first, np.zeros(len(held), np.uint8), np.zeros(len(held), np.uint32))
        self._objects.append(some)
        return some

    def add(self, to: Objects, at: NDArray[np.intp], kind: Kind, things: list[Any], ids: NDArray[np.uint64]) -> None:
        """Add objects of one class.

        Args:
            to: The objects among which they are.
            at: Where among them.
            kind: Their class.
            things: The objects.
            ids: Their addresses.

        """
        blocks = _blocks(kind, things, ids)
        numbers = (at + to.first).astype(np.int32)
        is_large = blocks >> np.int64(32) != 0
        if is_large.any():  # 64 GiB of one text
            start = ids[is_large] - np.uint64(kind.head)
            self._add_elsewhere(start, blocks[is_large] * _BLOCK + kind.head, numbers[is_large])
            blocks = np.where(is_large, 0, blocks)
        to.head[at], to.blocks[at] = kind.head, blocks
        self._look(kind, things, ids, numbers)

    def add_few(self, kind: Kind, things: list[Any], numbers: _Numbers) -> None:
        """Add objects of one class whose numbers do not follow each other."""
        ids = np.fromiter(map(id, things), np.uint64, len(things))
        self._add_elsewhere(ids - np.uint64(kind.head), _blocks(kind, things, ids) * _BLOCK + kind.head, numbers)
        self._look(kind, things, ids, numbers)

    def _look(self, kind: Kind, things: list[Any], ids: NDArray[np.uint64], numbers: _Numbers) -> None:
        """Add what objects hold elsewhere."""
        if issubclass(kind.type, np.ndarray):
            at = np.flatnonzero(numpy_arrays.are_views(things, ids))
            sizes = numpy_arrays.bytes_of([things[one] for one in at.tolist()])
            self.views.append((numbers[at], sizes))
        if look := memory_elsewhere.of(kind.type):
            notes: dict[int, str] = {}
            starts, sizes, of_which = look(things, ids, notes)
            self._add_elsewhere(starts, sizes, numbers[of_which])
            self.notes |= {int(numbers[at]): note for at, note in notes.items()}

    def _add_elsewhere(self, start: NDArray[np.uint64], size: NDArray[np.int64], numbers: _Numbers) -> None:
        is_small = not len(size) or int(size.max()) >> 32 == 0
        self._elsewhere.append((start, size.astype(np.uint32 if is_small else np.uint64), numbers))

    def ranges(self, key: NDArray[np.int32]) -> list[Ranges]:
        """Return the memory as ranges of addresses with keys, in parts; of neighbours with one key one range.

        This uses up what was added.

        Args:
            key: The key of each object, by its number.

        """
        return list(self._parts(key))

    def _parts(self, key: NDArray[np.int32]) -> Iterator[Ranges]:
        while self._objects:
            held, first, head, blocks = self._objects.pop()
            ids = object_words.of_objects(held)
            start, end = ids - head.astype(np.uint64), ids + blocks.astype(np.uint64) * np.uint64(_BLOCK)
            has = blocks != 0
            yield touching(start[has], end[has], key[first : first + len(held)][has])
        while self._elsewhere:
            start, size, numbers = self._elsewhere.pop()
            yield touching(start, start + size.astype(np.uint64), key[numbers])


def _blocks(kind: Kind, things: list[Any], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the bytes from ``id()`` on in whole blocks, as allocators give them: neighbours touch each other then."""
    found: NDArray[np.int64] = (sizes_by_class.sizes(kind, things, ids) + (_BLOCK - 1)) // _BLOCK
    return found
