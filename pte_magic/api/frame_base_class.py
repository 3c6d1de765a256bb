"""`OwnFrame`, the base of the package's DataFrames: their columns, and when a result is a plain DataFrame.

As in geopandas: a result of pandas is of the same class as long as its columns mean the same. Counts, means and other
results under the name of a column are a plain DataFrame, which pandas shows like any other.
"""

from __future__ import annotations

import functools
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from pte_magic.dataframes import pagemap_columns, restored_dtypes, row_kernels
from pte_magic.dataframes.columns import fits
from pte_magic.dataframes.frame_kinds import is_one
from pte_magic.errors import TargetError
from pte_magic.text import screen
from pte_magic.views import computed_once, frame_text, frame_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class OwnFrame(pd.DataFrame):
    """A DataFrame whose columns have fixed names and dtypes, which a subclass defines."""

    # The dtypes of columns, by name; of others, text or categories of whatever there is, nothing is asked.
    _TYPES: ClassVar[Mapping[str, Any]] = {}
    # Of these columns it has one at least, or it does not say what its rows are.
    _SAYS: ClassVar[frozenset[str]] = frozenset()
    # The result of a function on groups has all of these if its rows are still of this kind.
    _WHOLE: ClassVar[frozenset[str]] = frozenset()
    # The function that makes frames of this kind.
    _MADE_BY: ClassVar[str] = ""

    def __init__(self, data: Any = None, *args: Any, **options: Any) -> None:
        """Make a frame of any data that pandas takes; columns get their dtypes back, where no value was lost.

        Args:
            data: As for pandas, such as what `pandas.read_parquet` or `pandas.read_csv` returned.
            args: As for pandas.
            options: As for pandas.

        """
        plain = pd.DataFrame(data, *args, **options)
        make: Any = super()  # the stubs have __new__ only
        make.__init__(restored_dtypes.restored(plain, self._wanted))
        self.attrs = restored_dtypes.attrs(data, self)

    @classmethod
    def _wanted(cls, name: Any) -> Any:
        """Return the dtype that a column of this name must have; None for any dtype."""
        return cls._TYPES.get(name)

    def _unfit(self) -> list[Any]:
        """Return the columns that do not have the dtype that their name requires."""
        return [
            name for name, dtype in zip(self.columns, self.dtypes, strict=True) if not fits(dtype, self._wanted(name))
        ]

    @classmethod
    def _is_one(cls, names: Iterable[Any], dtypes: Iterable[Any]) -> bool:
        """Tell whether columns of these names and dtypes are those of a frame of this kind."""
        return is_one(names, dtypes, cls._SAYS, cls._wanted)

    def _need(self, who: str, *names: str) -> None:
        """Make sure that a method finds the columns that it needs, and each of ours as we made it.

        Raises:
            TargetError: It does not.

        """
        twice = self.columns[self.columns.duplicated()]
        absent = [name for name in names if name not in self.columns]
        other = [] if absent or len(twice) else self._unfit()
        if len(twice):
            message = f"this frame has the column {twice[0]!r} twice; call {who} on one that has it once"
        elif absent:
            message = f"{who} needs the columns {', '.join(names)}, and this frame has no {', '.join(absent)}; "
            message += f"call it on what {self._MADE_BY} returned"
        elif other:
            dtype = self._wanted(other[0])
            message = f"the column {other[0]!r} of this frame is {self[other[0]].dtype}, and {who} needs {dtype}; "
            message += f"give it that dtype when it is read or made, as {self._MADE_BY} does"
        else:
            return
        raise TargetError(message)

    @classmethod
    def _own(cls, plain: pd.DataFrame) -> Any:
        """Return the data of a DataFrame as a frame of this class if its columns fit; else the DataFrame."""
        return cls._of_manager(plain._mgr, plain.axes)  # noqa: SLF001  (what pandas has for subclasses)

    @classmethod
    def _of_manager(cls, manager: Any, axes: Any) -> Any:
        kind: Any = cls if cls._is_one(manager.items, manager.get_dtypes()) else pd.DataFrame
        return kind._from_mgr(manager, axes=axes)  # noqa: SLF001  (as above)

    @classmethod
    def _from_arrays(cls, *args: Any, **options: Any) -> Any:
        make: Any = pd.DataFrame  # the stubs do not know this
        return cls._own(make._from_arrays(*args, **options))  # noqa: SLF001  (as above)

    @classmethod
    @functools.cache
    def _maker(cls) -> Callable[..., pd.DataFrame]:
        return lambda *args, **options: cls._own(pd.DataFrame(*args, **options))

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return self._maker()

    def _constructor_from_mgr(self, mgr: Any, axes: Any) -> Any:
        return self._of_manager(mgr, axes)

    def __finalize__(self, other: Any, method: str | None = None, **options: Any) -> Any:
        """Take over `attrs`; pandas calls this for each result that it makes of a frame."""
        made: Any = super()
        made.__finalize__(other, method=method, **options)
        parts = getattr(other, "input_objs", getattr(other, "objs", None))  # pandas 3, pandas 2
        if method == "concat" and parts is not None:
            row_kernels.carried(self, parts)
            pagemap_columns.carried(self, parts)
        elif method == "merge":
            kept: Any = next(side for side in (other.left, other.right) if isinstance(side, OwnFrame))
            self.attrs = deepcopy(kept.attrs)
        elif method == "groupby" and isinstance(other, pd.DataFrame) and not self._is_of(other):
            plain: Any = pd.DataFrame
            return plain._from_mgr(self._mgr, axes=self.axes)  # noqa: SLF001  (as above)
        return self

    def _is_of(self, grouped: pd.DataFrame) -> bool:
        """Tell whether this is one group, or a result with rows per group, and not one number per group."""
        if self.columns.equals(grouped.columns) and self.index.names == grouped.index.names:
            return True
        return None in self.index.names and self.columns.isin(list(self._WHOLE)).sum() == len(self._WHOLE)

    def to_string(self, *args: Any, formatters: Any = None, **options: Any) -> Any:
        """Return the frame as text, as `pandas.DataFrame.to_string` does, addresses and entries in hex.

        Columns with `formatters` are formatted by these.
        """
        return super().to_string(*args, formatters=frame_view.merged(self, formatters, options), **options)

    def to_html(self, *args: Any, formatters: Any = None, **options: Any) -> Any:
        """Return the frame as HTML, as `pandas.DataFrame.to_html` does, addresses and entries in hex.

        Columns with `formatters` are formatted by these.
        """
        return super().to_html(*args, formatters=frame_view.merged(self, formatters, options), **options)

    @property
    def style(self) -> Any:
        """A `pandas.io.formats.style.Styler` of the frame, addresses and entries in hex."""
        return super().style.format(frame_view.formatters(self))  # type: ignore[arg-type]  # as for to_string()

    def __repr__(self) -> str:
        return frame_text.text(self)

    def _repr_html_(self) -> str | None:
        return frame_view.html(self)

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        """Return what IPython shows: text, which has colours in a terminal, and elsewhere HTML, too.

        IPython itself would ask for one after the other, and each would look at all rows.
        """
        with computed_once.look(self):
            with screen.colored(wanted=screen.wants_colors()):
                found = {"text/plain": repr(self)}
            html = None if screen.is_terminal() else self._repr_html_()
        return found if html is None else {**found, "text/html": html}
