"""`Written`: the result of a snapshot, a row per process, with all columns and whole errors."""

from __future__ import annotations

import pandas as pd

from pte_magic.text.units import size
from pte_magic.views import pandas_table
from pte_magic.views.text_table import Rules
from pte_magic.views.value_words import MISSING

_COLUMNS = ["rows", "bytes", "seconds", "error"]
_RULES = Rules(keep=("pid", *_COLUMNS), wrap=("error",))


class Written(pd.DataFrame):
    """The result of `snapshot`; a selection of its columns is shown by pandas."""

    @property
    def _constructor(self) -> type[Written]:
        return Written

    def __repr__(self) -> str:
        if list(self.columns) != _COLUMNS or not len(self):
            return str(super().__repr__())
        most = pandas_table.rows_at_ends(len(self))
        error = ["" if pd.isna(each) else str(each) for each in self["error"]]
        words = pd.DataFrame(
            {
                "pid": [str(pid) for pid in self.index],
                "rows": [f"{count:,}" for count in self["rows"]],
                "bytes": [size(int(count)) for count in self["bytes"]],
                "seconds": [f"{each:.2f}" for each in self["seconds"]],
            }
        )
        if any(error):
            words["error"] = [each or MISSING for each in error]
        lines = pandas_table.fitted(words, most, _RULES, index=False).lines
        return "\n".join([*lines, *([f"[{len(self):,} rows]"] if most is not None else [])])
