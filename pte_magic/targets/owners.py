"""`owners`: from the names of a namespace to the addresses of their memory, and from an address back to the name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.errors import TargetError, arguments
from pte_magic.linux.hardware import untagged
from pte_magic.targets import freed_by_del, indices, kept_by_views, namespaces
from pte_magic.targets.disjoint import Disjoint, disjoint, keys
from pte_magic.targets.object_graph import ObjectGraph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pte_magic.targets.indices import Layout
    from pte_magic.targets.kept_by_views import Kept
    from pte_magic.targets.namespaces import Held


class Place(NamedTuple):
    """A name, and an element of its object.

    Attributes:
        name: The name that leads there.
        element: Its index, as Python writes it, such as ``[3, 17]``; empty if the memory has no indices.

    """

    name: str
    element: str


class Owners:
    """The memory that names lead to. It holds none of the objects.

    A byte that several names lead to belongs to the one from which the way is the shortest, or to the first of these.

    Attributes:
        names: The names, in order.
        start: First addresses of their memory, ascending, ``uint64[n]``; no two ranges overlap.
        end: First addresses after these, ``uint64[n]``.
        owner: The place in `names` of each range's name, ``int32[n]``.
        state: `ENDS`, `HELD` or `SHARED` of `held_objects`: the what `del` does to each, ``int8[n]``.
        same: For each name the first one with the very same object, by its place, ``int64[names]``.
        notes: Remarks about the memory that a name leads to, by its place in `names`.
        kept: Arrays that small views keep, by the same place.

    """

    def __init__(self, names: Sequence[str], graph: ObjectGraph, layouts: Mapping[int, Layout]) -> None:
        state = freed_by_del.states(graph)
        self.names = tuple(names)
        self.same = graph.label[graph.root].astype(np.int64)
        self.notes: dict[int, list[str]] = {}
        for number, note in graph.memory.notes.items():
            said = self.notes.setdefault(int(graph.label[number]), [])
            if note not in said:
                said.append(note)
        self.kept: dict[int, Kept] = kept_by_views.kept(graph)
        memory, key = graph.memory, keys(graph.label, state)
        del graph, state  # all of it, or it would be there beside what is made of it
        self._set(disjoint(memory.ranges(key), freed_by_del.SHARED))
        self._layouts = layouts

    def _set(self, found: Disjoint) -> None:
        self.start, self.end, self.owner, self.state = found

    def ranges(self, name: str) -> NDArray[np.uint64]:
        """Return the memory that belongs to a name: first addresses, and first addresses after, ``uint64[n, 2]``.

        Raises:
            TargetError: There is no such name.

        """
        if name not in self.names:
            message = f"{arguments.shown(name)} is not a name of this namespace"
            raise TargetError(message)
        at = self.owner == self.names.index(name)
        return np.stack([self.start[at], self.end[at]], axis=1)

    def of(self, addresses: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the place in `names` of the name that each address belongs to, ``int64[n]``; -1 if to none."""
        at = np.searchsorted(self.start, addresses, side="right") - 1
        inside = at >= 0
        inside[inside] = addresses[inside] < self.end[at[inside]]
        return np.where(inside, self.owner[at] if len(self.owner) else -1, -1)

    def where(self, address: int) -> Place | None:
        """Return the name, and the element, that an address belongs to; None if it belongs to no name."""
        address = untagged(address)
        owner = int(self.of(np.array([address], np.uint64))[0])
        if owner < 0:
            return None
        layout = self._layouts.get(owner)
        return Place(self.names[owner], "" if layout is None else indices.at(layout, address))

    def elements(self, owner: NDArray[np.int64], addresses: NDArray[np.uint64]) -> list[str]:
        """Return the element of each address, as `Place` has it; `owner` is what `of` returned for them."""
        found = [""] * len(owner)
        for one in np.unique(owner):
            layout = self._layouts.get(int(one))
            if layout is None:
                continue
            rows = np.flatnonzero(owner == one)
            texts = indices.many(layout, addresses[rows])
            if len(rows) == len(found):
                return texts
            for row, text in zip(rows.tolist(), texts, strict=True):
                found[row] = text
        return found


def owners(namespace: dict[str, Any], tick: Callable[[int], object] = int) -> Owners:
    """Find the memory that each name of a namespace leads to; nothing is computed, and no object is kept.

    Args:
        namespace: Objects by name.
        tick: Called now and then with a number of objects that were added.

    Raises:
        TargetError: It is not a dictionary.

    """
    return of_held(namespaces.of_dictionary(namespace), {id(namespace)}, tick)


def of_held(items: list[Held], beyond: set[int], tick: Callable[[int], object] = int) -> Owners:
    """Find the memory of named objects, as `owners`; the list is emptied, as it would keep them.

    Args:
        items: Names and objects; of two equally short ways to an object the earlier name counts.
        beyond: Addresses of dictionaries that belong to the program.
        tick: As for `owners`.

    """
    names = [one.name for one in items]
    layouts = {at: layout for at, one in enumerate(items) if (layout := indices.layout(one.value)) is not None}
    graphs = [ObjectGraph([one.value for one in items], beyond, tick)]
    items.clear()
    return Owners(names, graphs.pop(), layouts)
