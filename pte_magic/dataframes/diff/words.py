"""The words for changes between two entries, as one table, and the lookup for many entries at once."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pte_magic.formats.decoding_plan import CACHES
from pte_magic.formats.field import KINDS, STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ANY = "*"


class Word(NamedTuple):
    """The words for a column that changed from one value to another; ``{before}`` and ``{after}`` are the values.

    Where these are a noun, `many` are the words for several entries.
    """

    column: str
    before: str
    after: str
    words: str
    many: str = ""


WORDS = (
    Word("looked", "no", "yes", "not looked at before"),
    Word("looked", "yes", "no", "not looked at after"),
    Word("table", "no", "yes", "table added", "tables added"),
    Word("table", "yes", "no", "table removed", "tables removed"),
    Word("table_frame", "no", "yes", "other table", "other tables"),
    Word("state", "none", "marker", ""),  # the kind says it
    Word("state", "marker", "none", ""),
    Word("state", "none", "present", "mapped"),
    Word("state", "marker", "present", "mapped"),
    Word("state", "none", "protnone", "mapped without access"),
    Word("state", "none", "swap", "mapped to swap"),
    Word("state", ANY, "none", "unmapped"),
    Word("state", ANY, "marker", "unmapped"),
    Word("state", "present", "swap", "swapped out"),
    Word("state", "protnone", "swap", "swapped out"),
    Word("state", "swap", "present", "swapped in"),
    Word("state", "present", "protnone", "access taken away"),
    Word("state", "protnone", "present", "access given back"),
    Word("state", ANY, "migration", "being moved"),
    Word("state", "migration", "present", "moved"),
    Word("state", ANY, "device", "moved to a device"),
    Word("state", "device", ANY, "moved back from a device"),
    Word("state", ANY, "hwpoison", "its memory failed"),
    Word("state", ANY, ANY, "{before} became {after}"),
    Word("kind", ANY, "guard", "guard installed", "guards installed"),
    Word("kind", "guard", ANY, "guard removed", "guards removed"),
    Word("kind", ANY, "splitting", "being split"),
    Word("kind", ANY, "poisoned", "marked as poisoned"),
    Word("kind", ANY, "swapin_error", "swap-in failed"),
    Word("kind", ANY, "uffd_wp", "marked for userfaultfd"),
    Word("kind", "uffd_wp", "", "no longer marked for userfaultfd"),
    Word("kind", ANY, "shadow_stack", "made a shadow stack", "made shadow stacks"),
    Word("kind", "shadow_stack", "", "no longer a shadow stack", "no longer shadow stacks"),
    Word("size", ANY, ANY, "became {after}"),
    Word("pfn", "no", "yes", "new page frame", "new page frames"),
    Word("swap_place", "no", "yes", "other place in swap", "other places in swap"),
    Word("rw", "yes", "no", "write-protected"),
    Word("rw", "no", "yes", "made writable"),
    Word("uffd_wp", "no", "yes", "write-protected by userfaultfd"),
    Word("uffd_wp", "yes", "no", "no longer write-protected by userfaultfd"),
    Word("nx", "yes", "no", "made executable"),
    Word("nx", "no", "yes", "no longer executable"),
    Word("gp", "no", "yes", "made a guarded page", "made guarded pages"),
    Word("gp", "yes", "no", "no longer a guarded page", "no longer guarded pages"),
    Word("uxn", "yes", "no", "made executable"),
    Word("uxn", "no", "yes", "no longer executable"),
    Word("pxn", "yes", "no", "made executable for the kernel"),
    Word("pxn", "no", "yes", "no longer executable for the kernel"),
    Word("cont", "no", "yes", "made contiguous"),
    Word("cont", "yes", "no", "no longer contiguous"),
    Word("user", "yes", "no", "closed to user mode"),
    Word("user", "no", "yes", "opened to user mode"),
    Word("pkey", ANY, ANY, "protection key {after}"),
    Word("accessed", "no", "yes", "accessed"),
    Word("accessed", "yes", "no", "no longer accessed"),
    Word("dirty", "no", "yes", "dirty"),
    Word("dirty", "yes", "no", "no longer dirty"),
    Word("soft_dirty", "no", "yes", "soft-dirty"),
    Word("soft_dirty", "yes", "no", "no longer soft-dirty"),
    Word("cache", ANY, ANY, "memory type {after}"),
    Word("global", "no", "yes", "made global"),
    Word("global", "yes", "no", "no longer global"),
    Word("special", "no", "yes", "made special"),
    Word("special", "yes", "no", "no longer special"),
    Word("devmap", "no", "yes", "memory of a device"),
    Word("devmap", "yes", "no", "no longer memory of a device"),
    Word("encrypted", "no", "yes", "encrypted"),
    Word("encrypted", "yes", "no", "decrypted"),
    Word("swp_exclusive", "no", "yes", "exclusive in swap"),
    Word("swp_exclusive", "yes", "no", "shared in swap"),
    Word("mmap_exclusive", "no", "yes", "mapped only here"),
    Word("mmap_exclusive", "yes", "no", "also mapped elsewhere"),
    Word("file", "no", "yes", "page of a file or shared memory", "pages of files or shared memory"),
    Word("file", "yes", "no", "anonymous page", "anonymous pages"),
    Word("bits", "no", "yes", "other bits"),  # if there is nothing else to say
)
"""All words. The first line of a column that fits is taken, in the order of columns here. No word has a comma."""

_HAS = {
    "rw": "writable",
    "uffd_wp": "write-protected by userfaultfd",
    "gp": "guarded",
    "cont": "contiguous",
    "user": "open to user mode",
    "accessed": "accessed",
    "dirty": "dirty",
    "soft_dirty": "soft-dirty",
    "global": "global",
    "special": "special",
    "devmap": "memory of a device",
    "encrypted": "encrypted",
    "swp_exclusive": "exclusive in swap",
    "mmap_exclusive": "mapped nowhere else",
    "file": "of a file or shared memory",
}
_HAS_NOT = {"nx": "executable", "uxn": "executable", "pxn": "executable for the kernel"}

APART = (
    Word("looked", "no", "yes", "only in the second"),
    Word("looked", "yes", "no", "only in the first"),
    Word("table", "no", "yes", "table only in the second", "tables only in the second"),
    Word("table", "yes", "no", "table only in the first", "tables only in the first"),
    Word("table_frame", "no", "yes", "other table", "other tables"),
    Word("state", ANY, ANY, "{before} and {after}"),
    Word("kind", ANY, "", "{before} in the first"),
    Word("kind", "", ANY, "{after} in the second"),
    Word("kind", ANY, ANY, "of another kind"),
    Word("size", ANY, ANY, "of another size"),
    Word("pfn", "no", "yes", "other page frame", "other page frames"),
    Word("swap_place", "no", "yes", "other place in swap", "other places in swap"),
    *(Word(name, "yes", "no", f"{words} only in the first") for name, words in _HAS.items()),
    *(Word(name, "no", "yes", f"{words} only in the second") for name, words in _HAS.items()),
    *(Word(name, "no", "yes", f"{words} only in the first") for name, words in _HAS_NOT.items()),
    *(Word(name, "yes", "no", f"{words} only in the second") for name, words in _HAS_NOT.items()),
    Word("pkey", ANY, ANY, "protection keys {before} and {after}"),
    Word("cache", ANY, ANY, "memory types {before} and {after}"),
    Word("bits", "no", "yes", "other bits"),
)
"""The words for two processes: neither of them is earlier. The first one is before, the second one after."""

MANY = {word.words: word.many for word in (*WORDS, *APART) if word.many}
"""The words for several entries, by those for one; other words are the same for any number."""

NOT_LOOKED = tuple(word.words for word in (*WORDS, *APART) if word.column == "looked")
"""Words that do not mean a change."""

NO_YES = ("no", "yes")
VALUES: dict[str, tuple[str, ...]] = {
    "state": STATES,
    "kind": (*KINDS, ""),  # the last: an ordinary entry
    "cache": CACHES,
    "pkey": tuple(map(str, range(16))),
}
"""The meanings of a column's codes, where they are not `NO_YES`; a missing value has the code -1."""

COLUMNS = tuple(dict.fromkeys(word.column for word in WORDS))


class Told(NamedTuple):
    """The words of each row for one column: their number from 1 on, 0 for none; ``uint8[n]``."""

    number: NDArray[np.uint8]
    words: tuple[str, ...]


@functools.cache
def _matrix(column: str, values: tuple[str, ...], *, apart: bool) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the number of the words, by the codes before and after; the last row and column, index -1, have none."""
    table = np.zeros((len(values) + 1, len(values) + 1), np.uint8)
    words: list[str] = []
    lines = [word for word in (APART if apart else WORDS) if word.column == column]
    for i, before in enumerate(values):
        for j, after in enumerate(values):
            fits = (word for word in lines if word.before in {ANY, before} and word.after in {ANY, after})
            line = next(fits, None) if i != j else None
            if line and line.words:
                said = line.words.format(before=before, after=after)
                if said not in words:
                    words.append(said)
                table[i, j] = words.index(said) + 1
    return table, tuple(words)


def tell(
    column: str,
    before: NDArray[Any],
    after: NDArray[Any],
    values: tuple[str, ...] | None = None,
    *,
    apart: bool,
) -> Told:
    """Find the words for codes of a column; -1 stands for a missing value, which is not a change.

    If they are `apart`, they are of two processes.
    """
    table, words = _matrix(column, values or VALUES.get(column, NO_YES), apart=apart)
    number = np.zeros(len(before), np.uint8)
    changed = np.flatnonzero(before != after)
    number[changed] = table[before[changed], after[changed]]
    return Told(number, words)


def differs(column: str, changed: NDArray[np.bool_], *, apart: bool) -> Told:
    """Find the words for a column whose value does not matter, only whether it changed."""
    return Told(changed.view(np.uint8), _matrix(column, NO_YES, apart=apart)[1])


def joined(told: Sequence[Told], n: int) -> tuple[NDArray[np.intp], list[str]]:
    """Put the words of all columns together, once for each combination.

    Returns:
        The combination of each row, ``intp[n]``, and the combinations in words, comma-separated; ``""`` for none.

    """
    key, combinations = np.zeros(n, np.intp), [""]
    for number, words in told:
        if not number.any():
            continue
        wide = key * (len(words) + 1) + number
        key, found = pd.factorize(wide)
        combinations = [
            ", ".join(filter(None, (combinations[old], words[new - 1] if new else "")))
            for old, new in (divmod(int(value), len(words) + 1) for value in found)
        ]
    return key, combinations
