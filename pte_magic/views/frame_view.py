"""The display of a frame: hex, sizes with units, bits as 0 and 1, and empty columns hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.dataframes import column_names, row_kernels
from pte_magic.dataframes.frame_kinds import is_chain, is_translation
from pte_magic.errors import TargetError
from pte_magic.errors.escapes import visible
from pte_magic.formats.describe import MOST_PAGES, describe
from pte_magic.text.units import counted
from pte_magic.views import first_columns, first_line, hidden_digits, leaf_bits, pandas_table, text_table
from pte_magic.views.computed_once import once
from pte_magic.views.counts_and_runs import headline, shortened
from pte_magic.views.html_table import of_frame
from pte_magic.views.markup import KEYS, escape, scrolled
from pte_magic.views.one_address import CONSTANT, SET
from pte_magic.views.place_in_target import offsets
from pte_magic.views.strip import strip
from pte_magic.views.value_words import MISSING, is_size, of_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.formats.describe import Description

_SHARES = {"huge_share"}
# Marks in what pandas escapes, to become elements of HTML: characters that have no meaning of their own.
_OPEN, _CLOSE = "\ue000", "\ue001"
_CODE = '<code style="background: none; font-size: 100%; white-space: normal">'
_REMARKS = 3  # lines about entries below a table


def formatters(frame: pd.DataFrame) -> dict[Any, Callable[[Any], str]]:
    """Return the formatters of columns for pandas' ``to_string`` and ``to_html``; pandas formats the others."""
    found = {name: _formatter(str(name), dtype) for name, dtype in zip(frame.columns, frame.dtypes, strict=True)}
    return {name: form for name, form in found.items() if form}


def merged(frame: pd.DataFrame, theirs: Any, options: Mapping[str, Any]) -> Any:
    """Return formatters for a frame: the caller's, as pandas takes them, and ours for other columns."""
    ours = formatters(frame)
    if theirs is None:
        return ours
    if isinstance(theirs, Mapping):
        return ours | dict(theirs)
    wanted = options.get("columns")
    names = list(frame.columns if wanted is None else wanted)
    if len(names) != len(theirs):
        return theirs  # of which pandas says what is wrong
    return [form or ours.get(name) for name, form in zip(names, theirs, strict=True)]


def _formatter(name: str, dtype: Any) -> Callable[[Any], str] | None:
    """Return the formatter of a column with this name and dtype; None if pandas formats it."""
    form = of_number(name) if str(dtype).lower() == "uint64" else None  # else it is not an address, whatever its name
    if form:
        return lambda value: _number(value, form)
    if name in _SHARES and str(dtype) == "Float64":
        return lambda value: MISSING if pd.isna(value) else f"{value:.1%}"
    if isinstance(dtype, pd.BooleanDtype):
        return lambda value: MISSING if pd.isna(value) else str(int(value))
    if dtype.kind in "iuO" or isinstance(dtype, (pd.CategoricalDtype, pd.StringDtype)):
        return lambda value: MISSING if pd.api.types.is_scalar(value) and pd.isna(value) else visible(str(value))
    return None


def _number(value: Any, form: Callable[[int], str]) -> str:
    if pd.isna(value):
        return MISSING
    return form(int(value)) if isinstance(value, (int, float, np.number)) else visible(str(value))


def html(frame: pd.DataFrame) -> str | None:
    """Return a frame as HTML, for a notebook; None if pandas was told not to."""
    if not pd.get_option("display.notebook_repr_html"):
        return None
    shown, notes = worth_showing(frame)
    shown, limit = ends(shown)
    shown, in_part = first_columns.without_parts(shown)
    leaf = leaf_of(frame)
    bits_of_leaf = leaf_bits.html(frame, leaf, row_kernels.of_all(frame)) if leaf else ""
    above = [paragraph([line.words]) + strip(line.found, line.words) for line in first_line.lines(frame)]
    above.append(paragraph(headline(frame)))
    return "".join([*above, _tables(frame, shown, limit, in_part), paragraph(notes), bits_of_leaf])


def _tables(frame: pd.DataFrame, shown: pd.DataFrame, limit: int | None, in_part: list[str]) -> str:
    """Return the table of the first columns, and below it one of all, which opens by a click.

    Both elements are kept in notebooks that are not trusted, and on GitHub.
    """
    table = hidden_digits.mark(words(shown), shown, frame)
    if not shown.columns.is_unique or not len(shown):
        return html_table(table, limit)
    first = first_columns.first(shown, table, in_part)
    same = _without_common_flags(first, shown, in_part) if limit is None else []
    in_code = [name for name in (SET, first_columns.FLAGS) if name in first.columns]
    for name in in_code:
        first[name] = [f"{_OPEN}{value}{_CLOSE}" for value in first[name]]
    if place := offsets(frame, shown):
        name, values = place
        texts = [value.replace(" ", "\N{NO-BREAK SPACE}") for value in values]
        first.insert(list(first.columns).index("vaddr") + 1, name, texts)
    with pd.option_context("display.max_colwidth", None):  # words are never cut
        made = html_table(first, limit)
    made = made.replace(_OPEN, _CODE).replace(_CLOSE, "</code>") + paragraph(same)
    if set(shown.columns) <= set(first.columns):
        return made
    every = html_table(table, limit, "table of entries, all columns")
    return (
        f"{made}<details><summary {KEYS}>all {len(shown.columns)} columns that are not empty</summary>{every}</details>"
    )


def _without_common_flags(first: pd.DataFrame, shown: pd.DataFrame, in_part: list[str]) -> list[str]:
    """Take the page flags out of a table that all of its rows have; return the line that says which."""
    rows = first_columns.sets(shown, in_part).get(first_columns.FLAGS, [])
    same = text_table.common(rows) if len(rows) > 1 else ()
    if not same:
        return []
    rest = [[word for word in words if word not in same] for words in rows]
    if any(rest) or not all(rows):
        first[first_columns.FLAGS] = text_table.cells_of(rest, rows)
    else:
        del first[first_columns.FLAGS]
    return [text_table.about_all(first_columns.FLAGS, rows, same)]


def html_table(table: pd.DataFrame, limit: int | None, label: str = "table of entries", *, index: bool = True) -> str:
    """Return the result of `words` as an HTML table of at most `limit` rows; a size keeps its unit beside it."""
    for at, name in enumerate(table.columns):
        if is_size(str(name)) and isinstance(table.iloc[:, at].dtype, pd.StringDtype | np.dtypes.ObjectDType):
            values = [str(value).replace(" ", "\N{NO-BREAK SPACE}") for value in table.iloc[:, at]]
            table.isetitem(at, values)
    return scrolled(of_frame(table, max_rows=limit, na_rep=MISSING, index=index), label)


def paragraph(lines: list[str]) -> str:
    """Return lines of text as HTML; nothing if there are none."""
    return f"<p>{'<br>'.join(escape(line) for line in lines)}</p>" if lines else ""


def is_of_one_address(frame: pd.DataFrame) -> bool:
    """Tell whether a frame is what `walk` returned for one address, and pandas would print all of its rows."""
    limit = pd.get_option("display.max_rows")
    if (
        not is_translation(frame)
        or first_line.is_range(frame)
        or (limit and len(frame) > limit)
        or not frame.index.equals(pd.RangeIndex(len(frame)))
    ):
        return False
    try:
        kernel = row_kernels.of_all(frame)
    except TargetError:
        return False
    return tuple(frame.columns) == column_names.of_walk(kernel) and not kernel.frames_hidden


def leaf_of(frame: pd.DataFrame) -> Description | None:
    """Return the last entry of a single address' translation, taken apart; None for other frames."""
    if not is_chain(frame):
        return None
    try:
        kernel = row_kernels.of_all(frame)
    except TargetError:  # a picture would show what nobody knows
        return None
    leaf = frame.iloc[-1]
    return describe(int(leaf["entry"]), str(leaf["level"]), kernel, covers=int(leaf["size"]))


def shape_of(frame: pd.DataFrame) -> str:
    """Return the numbers of rows and columns, in pandas' words."""
    rows, columns = frame.shape
    return f"{rows} row{'s' * (rows != 1)} x {columns} column{'s' * (columns != 1)}"


@once
def worth_showing(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the shown part of a frame: without empty columns, and runs if there are many rows.

    The lines below it say what is hidden.
    """
    shape = shape_of(frame)
    whole, frame = frame, row_kernels.shown(frame)
    if not len(frame) or not frame.columns.is_unique or not {"level", "state"} <= set(frame.columns):
        return frame, [f"[{shape}]"]
    frame, short = shortened(frame)  # each column says in the runs what it says in the rows
    remarks = _remarks(whole)
    frame, notes = telling(frame, shape, CONSTANT)
    return frame, [notes[0], *short, *notes[1:], *remarks]


def _remarks(frame: pd.DataFrame) -> list[str]:
    """Return a line for each of the first odd entries that a user decoded: without a state, or an impossible place."""
    places = ("entry", "pfn", "swap_offset")
    if "vaddr" in frame.columns or any(str(frame.dtypes.get(name)) != "UInt64" for name in places):
        return []
    try:
        kernels = row_kernels.known(frame)[1]
    except TargetError:  # somebody changed what tells of the format
        return []
    of = kernels[0] if len(kernels) == 1 else None
    if of is None:
        return []
    beyond = frame["pfn"] >= 1 << of.format.memory_bits - of.format.page_shift
    odd = frame["state"].isna() | beyond.fillna(value=False) | (frame["swap_offset"] >= MOST_PAGES).fillna(value=False)
    rows = np.flatnonzero((odd & frame["entry"].notna()).to_numpy(np.bool_))
    found = []
    for row in rows[:_REMARKS]:
        said = describe(int(frame["entry"].iloc[row]), str(frame["level"].iloc[row]), of)
        found.append(f"row {frame.index[row]}: {said.says}")
    if len(rows) > _REMARKS:
        more = len(rows) - _REMARKS
        found.append(f"{counted(more, 'more row')} {'is' if more == 1 else 'are'} odd")
    return found


def telling(frame: pd.DataFrame, shape: str, constant: tuple[str, ...]) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns of a frame with a value per row; and lines for the others, first the shape.

    Args:
        frame: The frame to show.
        shape: The text for its shape.
        constant: Columns to show below the table if all their values are the same.

    """
    if not frame.columns.is_unique:
        return frame, [f"[{shape}]"]
    empty = [name for name in frame.columns if frame[name].isna().all()]
    values = {name: frame[name].dropna().unique() for name in constant if name in frame.columns}
    same = {name: found[0] for name, found in values.items() if len(found) == 1}
    unset = [name for name in _unset_flags(frame) if name not in empty]
    if empty:
        shape += f"; {counted(len(empty), 'empty column')} hidden"
    if unset:
        shape += f"; {counted(len(unset), 'unset page-frame flag')} hidden"
    told = ", ".join(
        f"{name} {'without a name' if value == '' else visible(str(value))}" for name, value in same.items()
    )
    return frame.drop(columns=[*empty, *unset, *same]), [f"[{shape}; {told}]" if told else f"[{shape}]"]


def _unset_flags(frame: pd.DataFrame) -> list[Any]:
    flags = [name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.BooleanDtype)]
    return [name for name in flags if str(name).startswith("kpf_") and not frame[name].any()]


def ends(frame: pd.DataFrame) -> tuple[pd.DataFrame, int | None]:
    """Cut out rows of a long frame that pandas would not print; return how many to print. Labels: see `labelled`."""
    keep = pandas_table.rows_at_ends(len(frame))
    if keep is None:
        return labelled(frame), None
    half = keep // 2 + 1  # pandas has to see a row more than it prints, to say that there are more
    return labelled(frame.iloc[[*range(half), *range(len(frame) - half, len(frame))]]), keep


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with escapes for what cannot be seen in the labels that the user gave it."""
    return frame.set_axis(_visible(frame.index)).set_axis(_visible(frame.columns), axis="columns")


def _visible(labels: Any) -> Any:
    names = list(map(_seen, labels.names))
    if isinstance(labels, pd.MultiIndex):
        return labels.set_levels([_visible(level) for level in labels.levels], verify_integrity=False).set_names(names)
    texts = list(map(_seen, labels)) if labels.dtype.kind == "O" else []
    return (pd.Index(texts, dtype=object) if texts else labels).rename(names[0])


def _seen(label: Any) -> Any:
    return visible(label) if isinstance(label, str) else label


def words(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with the text for each value; columns that pandas formats keep their values."""
    columns: dict[Any, Any] = {}
    for at, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        form, column = _formatter(str(name), dtype), frame.iloc[:, at]
        columns[at] = [form(value) for value in column] if form else column.array
    words = pd.DataFrame(columns, frame.index)
    words.columns = frame.columns
    return words
