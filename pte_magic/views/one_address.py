"""The translation of one address as text: the entry at each level, and the bits of the last; made without pandas."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

from pte_magic.dataframes.column_names import BOOLEANS, FORMAT
from pte_magic.errors.escapes import visible
from pte_magic.linux import hardware
from pte_magic.text import screen
from pte_magic.text.units import counted
from pte_magic.views import entry_text, text_table
from pte_magic.views.value_words import MISSING, marked, of_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pte_magic.formats.describe import Description

CONSTANT = ("cache", "pkey", "host", "pid", "walker", "node", "cgroup", "region", "permissions", FORMAT)
"""Columns that are shown below the table if all their values are the same."""
SET = "bits that are set"
"""The column that has the names of these bits."""
OTHERS = "other bits"
"""The column that has the names of those that not all rows have, where there is not room for all."""

_RULES = text_table.Rules(("pfn", "size"), ("vaddr", "level", "entry", SET, OTHERS), (SET, OTHERS))


def text(
    columns: Mapping[str, Sequence[Any]], leaf: Description | None, width: int, hidden: Sequence[int] | None = None
) -> str:
    """Return the text of the entries of one address, one row per level.

    Args:
        columns: All columns of their `PteFrame`, in its order; None for a missing value.
        leaf: The last entry, taken apart; None if the walker read none.
        width: Characters of a line.
        hidden: The bits of each entry that are hidden from this user; None if nothing is.

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
    same_values = {name: value for name in CONSTANT if (value := _only(columns.get(name, ()))) is not None}
    bits = [name for name in columns if name in BOOLEANS and name not in empty]
    table = {
        name: [_word(name, value) for value in values]
        for name, values in columns.items()
        if name not in {*empty, *same_values, *bits}
    }
    if hidden is not None and "entry" in table:
        table["entry"] = marked(table["entry"], hidden)
    notes = []
    index = [str(row) for row in range(rows)]
    if bits:
        sets = [list(compress(bits, row)) for row in zip(*(columns[name] for name in bits), strict=True)]
        found = text_table.fitted(table | {SET: [text_table.cell(row) for row in sets]}, index, width, _RULES)
        if found.is_narrow and (same := text_table.common(sets)):
            notes.append(text_table.about_all(SET, sets, same))
            rest = [[word for word in row if word not in same] for row in sets]
            if any(rest):
                table[OTHERS] = text_table.cells_of(rest, sets)
            found = text_table.fitted(table, index, width, _RULES)
    else:
        found = text_table.fitted(table, index, width, _RULES)
    constant = ", ".join(f"{name} {_word(name, value)}" for name, value in same_values.items())
    notes += found.notes([f"[{shape}; {constant}]" if constant else f"[{shape}]"])
    bits_of_leaf = ["", entry_text.text(leaf, width=width)] if leaf else []
    return "\n".join([*found.lines, *(screen.fitted(note, width) for note in notes), *bits_of_leaf])


def _only(values: Sequence[Any]) -> Any:
    """Return the only value of a column; None if there are several, or none."""
    found = set(values) - {None}
    return found.pop() if len(found) == 1 else None


def _word(name: str, value: Any) -> str:
    if value is None:
        return MISSING
    form = of_number(name)
    return form(value) if form else visible(str(value))
