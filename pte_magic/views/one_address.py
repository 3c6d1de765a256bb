"""The translation of one address as text: the entry at each level, and the bits of the last; made without pandas."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

from pte_magic.dataframes.column_names import BOOLEANS, FORMAT
from pte_magic.errors.escapes import visible
from pte_magic.linux import hardware
from pte_magic.text.units import counted
from pte_magic.views import entry_text
from pte_magic.views.value_words import MISSING, of_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pte_magic.formats.describe import Description

CONSTANT = ("cache", "pkey", "host", "pid", "walker", "node", "cgroup", "region", "permissions", FORMAT)
"""Columns that are shown below the table if all their values are the same."""
SET = "bits that are set"
"""The column that has the names of these bits."""


def text(columns: Mapping[str, Sequence[Any]], leaf: Description | None) -> str:
    """Return the text of the entries of one address, one row per level.

    Args:
        columns: All columns of their `PteFrame`, in its order; None for a missing value.
        leaf: The last entry, taken apart; None if the walker read none.

    """
    rows = len(columns["vaddr"])
    shape = f"{counted(rows, 'row')} x {counted(len(columns), 'column')}"
    columns = dict(columns)
    kinds = [word.split()[0] for word in columns.pop(FORMAT)]
    if set(kinds) != {hardware.encoding()}:
        columns[FORMAT] = kinds
    empty = [name for name, values in columns.items() if all(value is None for value in values)]
    if empty:
        shape += f"; {counted(len(empty), 'empty column')} hidden"
    same = {name: value for name in CONSTANT if (value := _only(columns.get(name, ()))) is not None}
    bits = [name for name in columns if name in BOOLEANS and name not in empty]
    table = {
        name: [_word(name, value) for value in values]
        for name, values in columns.items()
        if name not in {*empty, *same, *bits}
    }
    if bits:
        rows_of_bits = zip(*(columns[name] for name in bits), strict=True)
        table[SET] = [" ".join(compress(bits, row)) or MISSING for row in rows_of_bits]
    constant = ", ".join(f"{name} {_word(name, value)}" for name, value in same.items())
    below = f"[{shape}; {constant}]" if constant else f"[{shape}]"
    return "\n".join([*lines(table), below, *(["", entry_text.text(leaf)] if leaf else [])])


def _only(values: Sequence[Any]) -> Any:
    """Return the only value of a column; None if there are several, or none."""
    found = set(values) - {None}
    return found.pop() if len(found) == 1 else None


def _word(name: str, value: Any) -> str:
    if value is None:
        return MISSING
    form = of_number(name)
    return form(value) if form else visible(str(value))


def lines(table: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a table of words, its rows numbered from 0, as lines like those of `pandas.DataFrame.to_string`."""
    rows = len(next(iter(table.values())))
    numbers = ["", *map(str, range(rows))]
    width = max(map(len, numbers))
    columns = [[number.ljust(width) for number in numbers]]
    for name, words in table.items():
        cells = [name, *(f" {word}" for word in words)]
        width = max(map(len, cells))
        columns.append([cell.rjust(width) for cell in cells])
    return [" ".join(line) for line in zip(*columns, strict=True)]
