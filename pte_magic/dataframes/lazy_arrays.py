"""Arrays of pandas whose values are decoded when somebody asks for them.

A frame of a million rows has about twenty columns of single bits, of which most people look at two or three. All are in
the raw entry. Such a column is an array of a subclass of pandas' own, which decodes its values when pandas first looks
at them. All that pandas makes of it are arrays of pandas, and so are pickles and copies of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from pandas.arrays import BooleanArray, IntegerArray

from pte_magic.formats.decode import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SHORT = 1 << 10  # rows; up to here, what is decoded once is kept, as that costs less than to decode it again
_FEW = 4  # a part of the rows that is smaller than one in so many is decoded alone


class Source(Protocol):
    """Rows that columns can be made of; nobody changes them."""

    def __len__(self) -> int: ...

    def columns(self, *names: str) -> dict[str, Column]:
        """Return some columns; one whose values are all missing may be left out."""

    def rows(self, rows: NDArray[np.intp]) -> Source:
        """Return some rows, by their numbers."""

    def slice(self, rows: slice) -> Source:
        """Return the rows of a slice."""

    def alike(self, ignored: Sequence[str] = ()) -> NDArray[np.bool_]:
        """Tell which rows but the first have the same columns as the one before it, ``bool[n-1]``.

        It may be False where they do; places in memory and in swap, and `ignored` columns, need not be compared.
        """

    def nbytes_of(self, name: str) -> int:
        """Return the bytes of memory that a column keeps here."""


class Nothing:
    """Rows of which nothing is known."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def columns(self, *names: str) -> dict[str, Column]:  # noqa: ARG002  (as for all sources)
        """Return no column."""
        return {}

    def rows(self, rows: NDArray[np.intp]) -> Nothing:
        """Return some rows, by their numbers."""
        return Nothing(len(rows))

    def slice(self, rows: slice) -> Nothing:
        """Return the rows of a slice."""
        return Nothing(len(range(self._n)[rows]))

    def alike(self, ignored: Sequence[str] = ()) -> NDArray[np.bool_]:  # noqa: ARG002  (as for all sources)
        """Tell that all rows are alike."""
        return np.ones(max(self._n - 1, 0), np.bool_)

    def nbytes_of(self, name: str) -> int:  # noqa: ARG002  (as above)
        """Return 0."""
        return 0


class Packed:
    """One boolean column in two bits per row, instead of two bytes."""

    def __init__(self, column: Column) -> None:
        self._n, missing = len(column.values), column.missing
        self._values = np.packbits(column.values)
        self._missing = None if missing is None else np.packbits(missing)

    def __len__(self) -> int:
        return self._n

    def alike(self, ignored: Sequence[str] = ()) -> NDArray[np.bool_]:  # noqa: ARG002  (as for all sources)
        """Tell which rows but the first are the same as the one before it, ``bool[n-1]``."""
        values, missing = self.columns("")[""]
        same: NDArray[np.bool_] = values[1:] == values[:-1]
        return same if missing is None else same & (missing[1:] == missing[:-1])

    def nbytes_of(self, name: str) -> int:  # noqa: ARG002  (as for all sources)
        """Return the bytes of the column."""
        return self._values.nbytes + (0 if self._missing is None else self._missing.nbytes)

    def columns(self, *names: str) -> dict[str, Column]:
        """Return the column, by any name."""
        return dict.fromkeys(names, Column(self._unpacked(self._values), self._unpacked(self._missing)))

    def rows(self, rows: NDArray[np.intp]) -> Packed:
        """Return some rows, by their numbers."""
        return self._part(rows)

    def slice(self, rows: slice) -> Packed:
        """Return the rows of a slice."""
        return self._part(rows)

    def _part(self, rows: Any) -> Packed:
        values, missing = self.columns("")[""]
        return Packed(Column(values[rows], None if missing is None else missing[rows]))

    def _unpacked(self, bits: Any) -> Any:
        return None if bits is None else np.unpackbits(bits, count=self._n).view(np.bool_)


class _Later:
    """The values of one column, which an array and its views share."""

    def __init__(self, source: Source, name: str, dtype: Any) -> None:
        self.source, self.name, self.dtype = source, name, dtype
        self.n = len(source)  # pandas asks several times

    @property
    def kept(self) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
        """The values, and which are missing, once somebody has asked for them; None before."""
        return vars(self).get("_values")

    def keep(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the values, and keep them; of two threads that ask for them first, both get those of one."""
        found: tuple[NDArray[Any], NDArray[np.bool_]] = self.kept or vars(self).setdefault("_values", self.decoded())
        return found

    def decoded(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return values, and which of them are missing: arrays that nobody else has."""
        n, found = len(self.source), self.source.columns(self.name).get(self.name)
        if found is None:
            return np.zeros(n, self.dtype.numpy_dtype), np.ones(n, np.bool_)
        values, missing = found
        return (
            values if values.flags.writeable else values.copy(),
            np.zeros(n, np.bool_) if missing is None else missing,
        )


class _AsPlain(type):
    """The class of lazy classes: each equals the class of pandas that it stands for.

    pandas asks `type(left) != type(right)` before it compares values, and Python asks the subclass of `type` first.
    """

    _plain: Any

    def __eq__(cls, other: object) -> bool:
        return cls._plain is (other._plain if isinstance(other, _AsPlain) else other)

    def __hash__(cls) -> int:
        return hash(cls._plain)


class Lazy(metaclass=_AsPlain):
    """The base of lazy arrays, before an array class of pandas."""

    _plain: ClassVar[Any] = object()  # this base stands for none
    _later: _Later

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Return an array of pandas: its methods make their results of the class of an array."""
        return cls._plain(*args, **options)

    @classmethod
    def _simple_new(cls, values: NDArray[Any], mask: NDArray[np.bool_]) -> Any:
        return cls._plain(values, mask)

    @classmethod
    def _of(cls, later: _Later) -> Any:
        made: Any = object.__new__(cls)
        made._later = later  # noqa: SLF001  (of this class)
        return made

    def _of_rows(self, source: Source) -> Any:
        return self._of(_Later(source, self._later.name, self._later.dtype))

    @property
    def _data(self) -> NDArray[Any]:
        return self._later.keep()[0]

    @property
    def _mask(self) -> NDArray[np.bool_]:
        return self._later.keep()[1]

    @property
    def source(self) -> Source | None:
        """The rows that it is made of; None when it has its values, as these may have been changed."""
        return self._later.source if self._later.kept is None else None

    def _looked_at(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the values; of many rows, this array does not keep them if it did not have them."""
        later = self._later
        return later.kept or (later.keep() if len(later.source) <= _SHORT else later.decoded())

    def _alone(self) -> Any:
        """Return an array of pandas with the values."""
        return self._plain(*self._looked_at())

    def __repr__(self) -> str:
        return repr(self._alone())

    def __reduce__(self) -> Any:
        """Pickle an array of pandas, so that a pickle needs no class of ours."""
        return self._plain, self._looked_at()

    def equals(self, other: object) -> bool:
        """Tell whether another array, lazy or not, has the same dtype and the same values."""
        right = other._alone() if isinstance(other, Lazy) else other  # noqa: SLF001  (of this class)
        return bool(self._alone().equals(right))

    @property
    def dtype(self) -> Any:
        """The dtype, of pandas."""
        return self._later.dtype

    def __len__(self) -> int:
        return self._later.n

    @property
    def shape(self) -> tuple[int]:
        """The number of values."""
        return (self._later.n,)

    @property
    def ndim(self) -> int:
        """The number of dimensions: one."""
        return 1

    @property
    def nbytes(self) -> int:
        """The bytes of memory of this column; those of raw entries belong to the column ``entry``."""
        later = self._later
        own = 0 if later.kept is None else sum(array.nbytes for array in later.kept)
        return own + later.source.nbytes_of(later.name)

    def isna(self) -> NDArray[np.bool_]:
        """Tell which values are missing."""
        source, later = self.source, self._later
        if source is None or len(source) <= _SHORT:
            return later.keep()[1].copy()
        found = source.columns(later.name).get(later.name)
        missing = np.ones(len(source), np.bool_) if found is None else found.missing
        return np.zeros(len(source), np.bool_) if missing is None else missing

    def __getitem__(self, item: Any) -> Any:
        """Return a value, or some; a slice as a lazy array, and a single value without decoding the others."""
        source = self.source
        if source is not None and isinstance(item, slice):
            return self._of_rows(source.slice(item))
        if source is not None and isinstance(item, (int, np.integer)):
            row = range(len(self))[item]
            return self._of_rows(source.slice(slice(row, row + 1)))._alone()[0]  # noqa: SLF001  (of this class)
        return self._alone()[item]

    def take(self, indexer: Any, *, allow_fill: bool = False, **options: Any) -> Any:
        """Return some values, as pandas does; a few of them without decoding the others."""
        rows, source, n = np.asarray(indexer), self.source, len(self)
        if source is not None and len(rows) * _FEW < n and rows.min(initial=0) >= 0 and rows.max(initial=0) < n:
            return self._of_rows(source.rows(rows.astype(np.intp)))._alone()  # noqa: SLF001  (of this class)
        return self._alone().take(indexer, allow_fill=allow_fill, **options)

    def copy(self) -> Any:
        """Return an array with values of its own, which is lazy, too, if this one is."""
        source = self.source
        return self._alone().copy() if source is None else self._of_rows(source)

    def view(self, dtype: Any = None) -> Any:
        """Return an array that shares the values."""
        if dtype is not None:
            return self._alone().view(dtype)
        made = self._of(self._later)
        if getattr(self, "_readonly", False):  # pandas 3.1
            made._readonly = True  # noqa: SLF001  (as pandas' own views)
        return made


class _LazyBoolean(Lazy, BooleanArray):
    _plain = BooleanArray


class _LazyInteger(Lazy, IntegerArray):
    _plain = IntegerArray


def lazy(source: Source, name: str, dtype: Any) -> Any:
    """Return a lazy array of a dtype: boolean, or one of pandas' integers."""
    kind: Any = _LazyBoolean if isinstance(dtype, pd.BooleanDtype) else _LazyInteger
    return kind._of(_Later(source, name, dtype))  # noqa: SLF001  (of this module)
