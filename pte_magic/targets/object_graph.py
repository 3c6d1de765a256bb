"""`ObjectGraph`: the objects that names lead to, by which name first, and the memory of each.

An object is asked by its class only: by the function with which Python's garbage collector finds what an object refers
to (``gc.get_referents``), and by members in C. No property is evaluated, nothing is imported, and no collection runs:
no lists are made that the collector would count.
"""

from __future__ import annotations

import gc
import sys
import types
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.targets import numpy_arrays, object_words, sizes_by_class
from pte_magic.targets.numbered_addresses import Places
from pte_magic.targets.object_memory import ObjectMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pte_magic.targets.sizes_by_class import Kind

    _Numbers = NDArray[np.int32]
    _Edges = tuple[_Numbers, _Numbers]

_AT_ONCE = 1 << 16  # objects
_FEW, _MANY = 32, 256  # objects that are followed one by one; and what these refer to
_DICTIONARY: Any = vars(types.ModuleType)["__dict__"]
_GLOBALS: Any = vars(types.FunctionType)["__globals__"]
_END = object()  # after all that one object refers to


class _Part(NamedTuple):
    """Objects that were met for the first time: references to them, the first of their numbers, and their labels."""

    held: NDArray[np.object_]
    first: int
    labels: NDArray[np.int32]


class ObjectGraph:
    """Objects by number, in the order in which they were met, level by level.

    Attributes:
        objects: Arrays of references to them, together in the order of their numbers.
        root: The number of each root's object, ``int32[roots]``.
        label: The root from which each object was reached first, ``int32[n]``.
        parent: Objects that refer to others, ``int32[e]``.
        child: The objects that these refer to, ``int32[e]``, as often as they do.
        memory: The memory of each.

    """

    def __init__(self, roots: Sequence[Any], beyond: Iterable[int] = (), tick: Callable[[int], object] = int) -> None:
        """Follow objects from roots.

        Args:
            roots: The objects to start with; of two ways of the same length, the one from the first of them counts.
            beyond: Addresses of dictionaries that belong to the program, besides those of modules.
            tick: Called with a number of objects that were added, again and again.

        """
        self.objects: list[NDArray[np.object_]] = []
        self.memory = ObjectMemory()
        self._places = Places()
        self._kinds: list[Kind] = []
        self._codes: dict[int, int] = {}
        self._beyond = {*beyond, *(id(_DICTIONARY.__get__(one)) for one in _modules())}
        self._labels: list[_Numbers] = []
        self._edges: list[_Edges] = []
        held = object_words.references(list(roots))
        self.root = np.empty(0, np.int32)
        level: list[_Part] = []
        for at in range(0, len(held), _AT_ONCE):
            piece = held[at : at + _AT_ONCE]
            numbers, part = self._met(piece, np.arange(at, at + len(piece), dtype=np.int32))
            self.root = np.concatenate([self.root, numbers])
            level.append(part)
        del held
        while level:
            tick(sum(len(part.held) for part in level))
            if sum(len(part.held) for part in level) <= _FEW:
                level = self._follow_few(level)
            level = [found for part in level for found in self._follow(part)]
        del self._places, self._kinds, self._codes  # before the parts are joined, which takes their memory once more
        self.label = np.concatenate([np.empty(0, np.int32), *self._labels])
        del self._labels
        self.parent, self.child = _joined(self._edges)

    def _met(self, held: NDArray[np.object_], labels: _Numbers) -> tuple[_Numbers, _Part]:
        """Give numbers to objects; return these, and those objects that had none."""
        first = self._places.count
        numbers, new = self._places.add(object_words.of_objects(held))
        part = _Part(held[new], first, labels[new])
        self.objects.append(part.held)
        self._labels.append(part.labels)
        return numbers, part

    def _follow(self, part: _Part) -> Iterator[_Part]:
        """Add the memory of objects, and yield those to which they are the first to refer."""
        things = part.held.tolist()
        codes = self._classes(part)
        ids = object_words.of_objects(part.held)
        to = self.memory.begin(part.held, part.first)
        for code in np.flatnonzero(np.bincount(codes)).tolist():
            kind = self._kinds[code]
            if kind.is_beyond:
                continue
            at = np.flatnonzero(codes == code)
            some = things if len(at) == len(things) else [things[one] for one in at.tolist()]
            self.memory.add(to, at, kind, some, ids[at])
            if not kind.leads:
                continue
            if kind.type is np.ndarray:
                yield from self._of_arrays(kind, some, ids[at], at, part)
                continue
            yield from self._children(kind.type, some, at.astype(np.int32) + np.int32(part.first), part.labels[at])

    def _of_arrays(
        self, kind: Kind, things: list[Any], ids: NDArray[np.uint64], at: NDArray[np.intp], part: _Part
    ) -> Iterator[_Part]:
        """Follow arrays of numpy, of which most have only elements, or show another one's."""
        is_view = numpy_arrays.are_views(things, ids)
        views = np.flatnonzero(is_view)
        if len(views):
            of = at[views]
            bases = object_words.references([numpy_arrays.BASE(things[one]) for one in views.tolist()])
            yield from self._referred(bases, of.astype(np.int32) + np.int32(part.first), part.labels[of])
        others = np.flatnonzero(~is_view & numpy_arrays.have_objects(things, ids))
        if len(others):
            some, of = [things[one] for one in others.tolist()], at[others]
            yield from self._children(kind.type, some, of.astype(np.int32) + np.int32(part.first), part.labels[of])

    def _follow_few(self, level: list[_Part]) -> list[_Part]:
        """Follow objects one by one, as in a long chain, as long as there are few; return those to go on with."""
        begin = few = [
            (thing, part.first + at, label)
            for part in level
            for at, (thing, label) in enumerate(zip(part.held.tolist(), part.labels.tolist(), strict=True))
        ]
        added, labels, parents, children = list[Any](), list[int](), list[int](), list[int]()
        measured: dict[int, tuple[list[Any], list[int]]] = {}
        first = self._places.count
        while few and len(few) <= _FEW and len(added) < _AT_ONCE:
            refer = [self._referents(thing) for thing, _, _ in few]
            if sum(map(len, refer)) > _MANY:
                break
            new = []
            for (thing, parent, label), others in zip(few, refer, strict=True):
                things, numbers = measured.setdefault(self._code(id(type(thing)), thing), ([], []))
                things.append(thing)
                numbers.append(parent)
                for one in others:
                    number, is_new = self._places.add_one(id(one))
                    parents.append(parent)
                    children.append(number)
                    if is_new:
                        new.append((one, number, label))
                        added.append(one)
                        labels.append(label)
            few = new
        if few is begin:
            return level
        part = _Part(object_words.references(added), first, np.array(labels, np.int32))
        self.objects.append(part.held)
        self._labels.append(part.labels)
        self._edges.append((np.array(parents, np.int32), np.array(children, np.int32)))
        for code, (things, numbers) in measured.items():
            if not self._kinds[code].is_beyond:
                self.memory.add_few(self._kinds[code], things, np.array(numbers, np.int32))
        left = len(added) - len(few)
        return [_Part(part.held[left:], first + left, part.labels[left:])] if few else []

    def _referents(self, thing: Any) -> Sequence[Any]:
        """Return what one object refers to, as `_children` follows it."""
        kind = self._kinds[self._code(id(type(thing)), thing)]
        if not kind.leads or (issubclass(kind.type, dict) and id(thing) in self._beyond):
            return ()
        if kind.type is types.FunctionType:
            self._beyond.add(id(_GLOBALS.__get__(thing)))
        refer = _referrer(kind.type)
        found: Sequence[Any] = refer(thing) if refer else thing
        return found

    def _code(self, address: int, sample: Any) -> int:
        """Return the number for a class by its address: the place of what is known of it."""
        if address not in self._codes:
            self._codes[address] = len(self._kinds)
            self._kinds.append(sizes_by_class.of(sample))
        return self._codes[address]

    def _classes(self, part: _Part) -> NDArray[np.intp]:
        """Return a number for the class of each object; a class may compare as it likes, so its address tells it."""
        found = object_words.classes(object_words.of_objects(part.held))
        some, first, codes = found[:1], np.zeros(1, np.intp), np.zeros(len(found), np.intp)
        if (found != some).any():
            some, first, codes = np.unique(found, return_index=True, return_inverse=True)
        known = np.empty(len(some), np.intp)
        for at, (address, sample) in enumerate(zip(some.tolist(), first.tolist(), strict=True)):
            known[at] = self._code(address, part.held[sample])
        return known[codes]

    def some(self, numbers: _Numbers) -> Iterator[Any]:
        """Yield objects by their numbers."""
        first = np.cumsum([0, *map(len, self.objects)])
        parts = np.searchsorted(first, numbers, side="right") - 1
        for part, at in zip(parts.tolist(), (numbers - first[parts]).tolist(), strict=True):
            yield self.objects[part][at]

    def _children(self, kind: Any, things: list[Any], numbers: _Numbers, labels: _Numbers) -> Iterator[_Part]:
        if issubclass(kind, dict):
            keep = [at for at, thing in enumerate(things) if id(thing) not in self._beyond]
            things, numbers, labels = [things[at] for at in keep], numbers[keep], labels[keep]
        elif kind is types.FunctionType:
            self._beyond.update(map(id, map(_GLOBALS.__get__, things)))
        refer: Any = _referrer(kind)
        parts = chain.from_iterable(zip(map(refer, things) if refer else things, repeat((_END,)), strict=False))
        held = object_words.references(list(chain.from_iterable(parts)))
        is_end = object_words.of_objects(held) == id(_END)
        ends = np.flatnonzero(is_end)
        counts = np.diff(ends, prepend=-1) - 1
        yield from self._referred(held[~is_end], np.repeat(numbers, counts), np.repeat(labels, counts))

    def _referred(self, held: NDArray[np.object_], parents: _Numbers, labels: _Numbers) -> Iterator[_Part]:
        """Add references of objects to others, and yield those others that are new."""
        for at in range(0, len(held), _AT_ONCE):
            some = slice(at, at + _AT_ONCE)
            children, part = self._met(held[some], labels[some])
            self._edges.append((parents[some], children))
            if len(part.held):
                yield part


def _referrer(kind: Any) -> Callable[[Any], Sequence[Any]] | None:
    """Return the function that gives what an object of a class refers to; None if the object itself does."""
    if kind is tuple or kind is list:  # `in` would ask a metaclass
        return None
    if issubclass(kind, np.ndarray):
        return _of_array
    return _of_frame if kind is types.FrameType else gc.get_referents


def _of_array(array: Any) -> list[Any]:
    base, dtype = numpy_arrays.BASE(array), numpy_arrays.DTYPE(array)
    found = gc.get_referents(array) if type(array) is not np.ndarray else []
    if base is not None:
        found.append(base)
    elif dtype.hasobject:
        found += _elements(np.ndarray.view(array, np.ndarray))
    return found


def _elements(array: Any) -> list[Any]:
    """Return the objects that are elements of an array; those of a structure's fields, too."""
    if array.dtype.names:
        return [one for name in array.dtype.names if array.dtype[name].hasobject for one in _elements(array[name])]
    return list(array.ravel("K").tolist()) if array.dtype.kind == "O" else []


def _of_frame(frame: types.FrameType) -> list[Any]:
    """Return the local variables of a frame, and not the frame that called it."""
    beyond = frame.f_globals, frame.f_builtins
    return [
        one
        for one in gc.get_referents(frame)
        if type(one) is not types.FrameType and all(one is not no for no in beyond)
    ]


def _modules() -> list[Any]:
    return [one for one in dict.copy(sys.modules).values() if issubclass(type(one), types.ModuleType)]


def _joined(edges: list[_Edges]) -> _Edges:
    """Join arrays of parts; the list is emptied."""
    edges.insert(0, (np.empty(0, np.int32), np.empty(0, np.int32)))
    parents, children = map(list, zip(*edges, strict=True))
    edges.clear()
    parent = np.concatenate(parents)
    del parents
    return parent, np.concatenate(children)
