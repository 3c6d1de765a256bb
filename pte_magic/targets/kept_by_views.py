"""Arrays that only views keep, and that these show a small part of: the commonest leak."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pte_magic.targets.object_graph import ObjectGraph

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
    numbers, sizes = graph.arrays
    size = np.full(len(graph.label), -1, np.int64)  # of arrays
    size[numbers] = sizes
    is_view = (size[graph.parent] >= 0) & (size[graph.child] >= 0)
    parent, child = graph.parent[is_view], graph.child[is_view]
    known = np.zeros(len(size), np.bool_)  # some other way leads to these
    known[graph.child[~is_view]] = True
    known[graph.root] = True
    shown = np.bincount(child, size[parent], len(size)).astype(np.int64)
    views = np.bincount(child, minlength=len(size))
    found: dict[int, Kept] = {}
    for base in np.flatnonzero((views > 0) & ~known & (shown * _SMALL <= size)).tolist():
        before = found.get(int(graph.label[base]), Kept(0, 0, 0))
        found[int(graph.label[base])] = Kept(
            before.views + int(views[base]), before.shown + int(shown[base]), before.bytes + int(size[base])
        )
    return found
