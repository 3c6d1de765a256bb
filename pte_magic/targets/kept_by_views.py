"""Arrays that only views keep, and that these show a small part of: the commonest leak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pte_magic.targets.object_graph import ObjectGraph

_BYTES: Any = np.ndarray.__dict__["nbytes"].__get__
_SMALL = 2  # times as many bytes are kept as are shown, at least


class Kept(NamedTuple):
    """Arrays of one name that small views keep.

    Attributes:
        views: How many views there are.
        shown: Bytes that they show.
        bytes: Bytes that they keep.

    """

    views: int
    shown: int
    bytes: int


def kept(graph: ObjectGraph) -> dict[int, Kept]:
    """Return what small views keep, by the root that leads to it."""
    if not graph.memory.views:
        return {}
    count = len(graph.label)
    shown = np.full(count, -1, np.int64)  # of views
    for numbers, sizes in graph.memory.views:
        shown[numbers] = sizes
    is_view = shown[graph.parent] >= 0
    known = np.zeros(count, np.bool_)  # some other way leads to these
    known[graph.child[~is_view]] = True
    known[graph.root] = True
    parent, child = graph.parent[is_view], graph.child[is_view]
    keep = ~known[child]
    parent, child = parent[keep], child[keep]
    bases, of = np.unique(child, return_inverse=True)  # and what else arrays of derived classes refer to
    views, bytes_ = np.bincount(of), np.bincount(of, shown[parent])
    found: dict[int, Kept] = {}
    for base, label, many, sum_ in zip(
        graph.some(bases), graph.label[bases].tolist(), views.tolist(), bytes_.tolist(), strict=True
    ):
        size = _BYTES(base) if issubclass(type(base), np.ndarray) else 0
        if sum_ * _SMALL <= size and size:
            before = found.get(label, Kept(0, 0, 0))
            found[label] = Kept(before.views + many, before.shown + int(sum_), before.bytes + size)
    return found
