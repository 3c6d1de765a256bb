"""The words of each row of a difference, from the values before and after, column by column."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.dataframes.diff.words import COLUMNS, differs, joined, tell
from pte_magic.formats.field import KINDS, STATES
from pte_magic.text.units import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pte_magic.dataframes.diff.pairs import Ground
    from pte_magic.dataframes.diff.words import Told

_NONE, _TABLE, _SWAP, _PROTNONE = (STATES.index(name) for name in ("none", "table", "swap", "protnone"))


def told(ground: Ground) -> tuple[NDArray[np.intp], list[str]]:
    """Return the combination of words of each row, and all combinations; ``""`` if nothing changed."""
    found: list[Told] = []
    said = np.zeros(len(ground.starts), np.bool_)
    for column in COLUMNS:
        if column == "bits":
            before, known, after, known_after = ground.raw
            same_level = ground.level.before == ground.level.after
            words = differs(column, known & known_after & same_level & (before != after) & ~said, apart=ground.apart)
        else:
            of = _SPECIAL.get(column)
            words = of(ground) if of else tell(column, *ground.rows(column), apart=ground.apart)
        said |= words.number != 0
        found.append(words)
    return joined(found, len(ground.starts))


def _looked(ground: Ground) -> Told:
    before, after = ground.first(ground.laid.before) >= 0, ground.first(ground.laid.after) >= 0
    if ground.added is not None and ground.removed is not None:  # somebody looked, and there was none
        before, after = before | ground.added, after | ground.removed
    return tell("looked", before.view(np.int8), after.view(np.int8), apart=ground.apart)


def _table(ground: Ground) -> Told:
    before, after = (np.full(len(ground.starts), -1, np.int8) for _ in range(2))
    if ground.added is not None and ground.removed is not None:
        before[ground.added | ground.removed] = after[ground.added | ground.removed] = 0
        before[ground.removed] = after[ground.added] = 1
    return tell("table", before, after, apart=ground.apart)


def _kind(ground: Ground) -> Told:
    # An entry of no special kind is an ordinary one.
    before, after = (
        np.where((kind < 0) & (state >= 0), len(KINDS), kind)
        for kind, state in zip(ground.pieces("kind"), ground.pieces("state"), strict=True)
    )
    return tell("kind", ground.uniform(before), ground.first(after), apart=ground.apart)


def _permission(ground: Ground, column: str) -> Told:
    """Compare permissions, except where one side allows no access at all: its bits mean nothing to the CPU."""
    before, after = ground.rows(column)
    same = (ground.state.before == _PROTNONE) == (ground.state.after == _PROTNONE)
    return tell(column, np.where(same, before, -1), after, apart=ground.apart)


def _size(ground: Ground) -> Told:
    """Compare page sizes; entries that map nothing have none, and without a level it is not known."""
    covers = ground.covers
    maps = covers.differ
    for state, level in zip(ground.pieces("state"), ground.pieces("level"), strict=True):
        maps &= (state != _NONE) & (state != _TABLE) & (level >= 0)
    changed = ground.any(maps)
    sizes, code = np.unique(ground.first(covers.after)[changed], return_inverse=True)
    after = np.full(len(changed), -1)
    after[changed] = code
    before = np.where(changed, len(sizes), -1)  # whatever it was before, it is another one
    return tell("size", before, after, (*(size(int(found)) for found in sizes), ""), apart=ground.apart)


def _frame(ground: Ground) -> Told:
    return differs("pfn", ground.frames[1] & (ground.state.after != _TABLE), apart=ground.apart)


def _table_frame(ground: Ground) -> Told:
    return differs("table_frame", ground.frames[1] & (ground.state.after == _TABLE), apart=ground.apart)


def _swap_place(ground: Ground) -> Told:
    moved = ground.rows("swap_type").differ | ground.rows("swap_offset").differ
    moved &= (ground.state.before == _SWAP) & (ground.state.after == _SWAP)
    return differs("swap_place", moved, apart=ground.apart)


def _dirty(ground: Ground) -> Told:
    """Compare the kernel's dirty state: a read-only entry keeps the bit elsewhere (``pte_dirty()``)."""
    dirty, saved = ground.pieces("dirty"), ground.pieces("saved_dirty")
    before, after = (np.where(one >= 0, np.maximum(one, other), -1) for one, other in zip(dirty, saved, strict=True))
    return tell("dirty", ground.uniform(before), ground.first(after), apart=ground.apart)


def _of_pagemap(ground: Ground, column: str) -> Told:
    """Compare what pagemap says only where an entry is not known: the difference of two entries is in their bits."""
    (before, after), raw = ground.rows(column), ground.raw
    return tell(column, np.where(raw.known & raw.known_after, -1, before), after, apart=ground.apart)


_SPECIAL: dict[str, Callable[[Ground], Told]] = {
    "looked": _looked,
    "table": _table,
    "table_frame": _table_frame,
    "state": lambda ground: tell("state", *ground.state, apart=ground.apart),
    "kind": _kind,
    "size": _size,
    "pfn": _frame,
    "swap_place": _swap_place,
    "dirty": _dirty,
    **{name: functools.partial(_permission, column=name) for name in ("rw", "user", "nx", "uxn", "pxn", "global")},
    **{name: functools.partial(_of_pagemap, column=name) for name in ("mmap_exclusive", "file")},
}
