"""The fate of objects if the name that leads to them is deleted: they end, or others hold them.

As in Python's garbage collector (Modules/gcmodule.c), references that are known are subtracted from the counts of all.
Where some are left, somebody who is not known holds a reference: a running function, a module, C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.targets import object_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.targets.object_graph import ObjectGraph

_FEW, _MANY = 32, 256  # objects that are handled one by one; and what these refer to

ENDS, HELD, SHARED = range(3)
"""It would end; it would stay, as somebody who is not known holds it; other names lead to it, too."""


def states(graph: ObjectGraph) -> NDArray[np.int8]:
    """Return `ENDS`, `HELD` or `SHARED` for each object of a graph, ``int8[n]``.

    Nobody else may hold references for the sake of the graph, or the objects stay.
    """
    count = len(graph.label)
    found = np.zeros(count, np.int8)
    ways = Ways(graph)
    several = graph.child[graph.label[graph.parent] != graph.label[graph.child]]
    named = graph.root[graph.label[graph.root] != np.arange(len(graph.root))]
    found[ways.after(np.concatenate([several, named]))] = SHARED
    known = np.bincount(graph.child, minlength=count) + np.bincount(graph.root, minlength=count)
    held = np.flatnonzero((_references(graph.objects) > known) & (found != SHARED))
    after = ways.after(held)
    found[after] = np.maximum(found[after], HELD)
    return found


def _references(parts: list[NDArray[np.object_]]) -> NDArray[np.int64]:
    """Return the references to each object besides that of the graph, ``int64[n]``."""
    return np.concatenate([np.empty(0, np.int64), *map(object_words.counted, parts)]) - 1


class Ways:
    """The references of a graph, by the object that has them."""

    def __init__(self, graph: ObjectGraph) -> None:
        order = np.argsort(graph.parent, kind="stable")
        self._child = graph.child[order]
        self._first = np.searchsorted(graph.parent[order], np.arange(len(graph.label) + 1))
        self._count = len(graph.label)

    def after(self, starts: NDArray[Any]) -> NDArray[np.intp]:
        """Return the objects that can be reached from some of them, and these, ``intp[n]``, ascending."""
        reached = np.zeros(self._count, np.bool_)
        reached[starts] = True
        level = np.flatnonzero(reached)
        while len(level):
            if len(level) <= _FEW:
                level = self._after_few(level.tolist(), reached)
            counts = self._first[level + 1] - self._first[level]
            total = int(counts.sum())
            skipped = np.repeat(self._first[level] - np.cumsum(counts) + counts, counts)
            children = self._child[skipped + np.arange(total)]
            children = children[~reached[children]]
            reached[children] = True
            level = np.sort(children)
            level = level[np.append(True, level[1:] != level[:-1])] if len(level) else level
        return np.flatnonzero(reached)

    def _after_few(self, level: list[int], reached: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Reach objects one by one, as in a long chain, as long as there are few; return those to go on with."""
        while level and len(level) <= _MANY:
            first, end = self._first.item(level[-1]), self._first.item(level[-1] + 1)
            if end - first > _MANY:
                break
            level.pop()
            for child in self._child[first:end].tolist():
                if not reached.item(child):
                    reached[child] = True
                    level.append(child)
        return np.array(level, np.intp)
