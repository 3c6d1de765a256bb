"""Raw entries whose columns are decoded one at a time, when somebody asks for them."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.formats import decode
from pte_magic.formats.field import LEAVES, TABLES, Shape
from pte_magic.formats.format import frame_mask
from pte_magic.formats.kernel import fields
from pte_magic.formats.partial_decoding_plan import bits_read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.formats.decode import Column
    from pte_magic.formats.kernel import Kernel

_FEW = 1 << 10  # entries; of more, those that are alike are decoded once


class Undecoded:
    """Raw entries of one kernel, which nobody changes any more.

    Attributes:
        entry: The entries, ``uint64[n]``, read-only.
        level: Their levels, ``int8[n]``, indices into ``LEVELS``, read-only.
        kernel: The kernel that they come from.

    """

    def __init__(
        self,
        entry: NDArray[np.uint64],
        level: NDArray[np.int8],
        kernel: Kernel,
        shape: NDArray[np.uint8] | None = None,
    ) -> None:
        """Take over the arrays; without `shape`, find out the shapes of the entries."""
        self.entry, self.kernel = entry.view(), kernel
        # Most walks meet one level only, and most entries are of one shape: then no memory is behind these.
        is_one = len(level) > 0 and bool((level == level[0]).all())
        self.level = np.broadcast_to(level[0], len(level)) if is_one else level.copy()
        found = decode.shapes(entry, level, None, kernel) if shape is None else shape
        self._shape = found
        for array in (self.entry, self.level, self._shape):
            array.flags.writeable = False
        self._slice: tuple[slice, weakref.ref[Undecoded]] | None = None

    def __len__(self) -> int:
        return len(self.entry)

    def columns(self, *names: str) -> dict[str, Column]:
        """Return some columns, as `decode.columns` does: without those that no entry has."""
        wanted, n = frozenset(names), len(self)
        if n <= _FEW or self._shape.strides[0] or self._varying & bits_read(self.kernel, 1 << self._shape[0], wanted):
            return decode.columns(self.entry, self.level, self.kernel, wanted, self._shape)
        found = decode.columns(self.entry[:1], self.level[:1], self.kernel, wanted, self._shape[:1])
        return {name: _repeated(column, n) for name, column in found.items()}

    @functools.cached_property
    def _varying(self) -> int:
        """The bits that are set in some entries only."""
        return int(np.bitwise_or.reduce(self.entry) ^ np.bitwise_and.reduce(self.entry))

    def rows(self, rows: NDArray[np.intp]) -> Undecoded:
        """Return the entries of some rows, by their numbers."""
        return Undecoded(self.entry[rows], self.level[rows], self.kernel, self._shape[rows])

    def slice(self, rows: slice) -> Undecoded:
        """Return the entries of a slice; the same object to all columns, which pandas slices one by one."""
        found = self._slice[1]() if self._slice and self._slice[0] == rows else None
        if found is None:
            entry = np.ascontiguousarray(self.entry[rows])
            found = Undecoded(entry, self.level[rows], self.kernel, self._shape[rows])
            self._slice = rows, weakref.ref(found)
        return found

    def nbytes_of(self, name: str) -> int:
        """Return the bytes of memory that a column keeps here: the entries are those of ``entry``."""
        return self.entry.nbytes if name == "entry" else 0

    def alike(self, ignored: Sequence[str] = ()) -> NDArray[np.bool_]:
        """Tell which entries but the first have the bits of the one before it, ``bool[n-1]``.

        The page frame number of entries that have one may be another, and so may the bits of `ignored` columns.
        """
        shape, masks = self._shape, _loose(self.kernel, tuple(ignored))
        flips = self.entry[1:] ^ self.entry[:-1]
        if len(self) and not shape.strides[0]:
            same: NDArray[np.bool_] = flips & ~masks[shape[0]] == 0
            return same
        found: NDArray[np.bool_] = (flips & ~masks[shape[1:]] == 0) & (shape[1:] == shape[:-1])
        return found


def _repeated(column: decode.Column, n: int) -> decode.Column:
    values, missing = column
    return decode.Column(np.full(n, values[0]), None if missing is None else np.full(n, missing[0]))


class Decoding(dict[str, "Column"]):
    """The columns of entries by name, each decoded when somebody looks for it."""

    def __init__(self, source: Undecoded) -> None:
        self._source = source
        self._asked: set[object] = set()
        super().__init__()

    def look_for(self, *names: str) -> None:
        """Decode some columns at once."""
        self._asked.update(names)
        self.update(self._source.columns(*names))

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name) and name not in self._asked:
            self.look_for(str(name))
        return super().__contains__(name)


@functools.cache
def _loose(kernel: Kernel, ignored: tuple[str, ...]) -> NDArray[np.uint64]:
    """Return by shape the bits of the page frame number, and of some columns, ``uint64[shapes]``."""
    frames = {shape: frame_mask(kernel.format, shape) & ~kernel.encryption_mask for shape in LEAVES | TABLES}
    found = [frames.get(shape, 0) for shape in Shape]
    derived = functools.reduce(int.__or__, (mask for one in kernel.format.derived for mask, _ in one.terms), 0)
    for field in fields(kernel):
        if field.column in ignored and not field.mask & derived:  # else it also says something in another column
            for shape in field.shapes:
                found[shape] |= field.mask
    return np.array(found, np.uint64)
