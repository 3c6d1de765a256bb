"""Runs of a difference: neighbouring rows with the same change, merged into one row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pte_magic.dataframes import runs
from pte_magic.dataframes.column_names import WHERE
from pte_magic.dataframes.diff import flipped_bits

_SAME = ("change", "level", "state_before", "state_after", "level_before", "level_after")
NEEDED = (*WHERE, *_SAME, "before", "after", "flipped")
"""Columns of a difference that runs need."""


def merged(diff: pd.DataFrame) -> Any:
    """Do what `PteDiff.runs` says; the result has the class of the difference."""
    first, size = diff["vaddr"].to_numpy(), diff["size"].to_numpy()
    starts = np.ones(len(diff), np.bool_)
    starts[1:] = (first[1:] != first[:-1] + runs.counts(diff)[1][:-1]) | (size[1:] != size[:-1])
    for name in _SAME:
        code = pd.factorize(diff[name])[0]
        starts[1:] |= code[1:] != code[:-1]
    starts[1:] |= flipped_bits.changes(diff)
    return runs.merged(diff, starts)
