"""The display of variables: a table with a bar per row, the rest of the process by owner, the total, and remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pte_magic.errors.cut import cut
from pte_magic.errors.escapes import visible
from pte_magic.text import screen
from pte_magic.text.units import counted, share, size
from pte_magic.views import html_table, palette, pandas_table, svg_image
from pte_magic.views.frame_view import paragraph
from pte_magic.views.markup import escape, scrolled
from pte_magic.views.value_words import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

_NEEDED = {"name", "type", "bytes", "resident", "huge", "swapped", "shared", "frees", "also", "says", "remark"}
_SIZE = 9  # characters of bytes, such as 1,023 KiB
_BAR = 8  # those of a bar
_ASIDE = {"bar": _BAR, "huge": 5, "frees": _SIZE}  # columns that give way in a narrow terminal, the first one first
_LEAST = 30  # characters of name and type, before one of these gives way
_NAME = 14  # those of a name, at most where names are short
_WIDTH, _HEIGHT = 120, 12  # pixels of a bar
_SMALL, _HUGE, _SWAPPED = palette.STATES["present"], palette.SIZES[2 << 20], palette.STATES["swap"]
_LEGEND = ((_SMALL, "small pages"), (_HUGE, "huge pages"), (_SWAPPED, "swapped out"))
_MOST_REMARKS = 12
_SIZES = ("resident", "huge", "swapped", "shared", "frees")
_FEW, _SOME = 8, 40  # names of those without memory; characters of them
_LEFT = 'style="text-align: left"'
_NARROWEST = 'style="min-width: 64px" '
_REST = "the rest of the process:"


def is_whole(frame: pd.DataFrame) -> bool:
    """Tell whether a frame has what the table shows."""
    return len(frame) > 0 and frame.columns.is_unique and set(frame.columns) >= _NEEDED


class _Widths(NamedTuple):
    """The characters of the columns of the text; of `aside`, those for which there is room."""

    name: int
    what: int
    aside: dict[str, int]


def text(frame: pd.DataFrame) -> str:
    """Return a frame as text that fits the screen."""
    named, rest, hidden = _parts(frame)
    greatest = _greatest(frame)
    widths = _widths(pandas_table.width(), named, rest)
    lines = [
        _columns(("name", "type", "resident", "", "huge", "frees"), widths),
        *(_line(row, greatest, widths) for row in named),
        *pandas_table.sentences(hidden),
    ]
    if rest:
        lines += [_REST, *(_line(row, greatest, widths) for row in rest)]
    no_room = [name for name in _ASIDE if name not in widths.aside and name in frame and frame[name].any()]
    left_out = [f"no room here for {', '.join(no_room)}"] if no_room else []
    below = pandas_table.sentences([*left_out, *_total(frame), *_remarks(frame)])
    return "\n".join([*pandas_table.sentences([_headline(frame)], screen.BOLD), *lines, *below])


def _widths(columns: int, named: list[Any], rest: list[Any]) -> _Widths:
    """Return the widths with which a line has at most so many columns."""
    aside = dict(_ASIDE)

    def room() -> int:
        """Return the characters for name, type and the space between them."""
        return columns - sum(width + 1 for width in (_SIZE, *aside.values()))

    while aside and room() < _LEAST:
        del aside[next(iter(aside))]
    least = min(_NAME, room() * 2 // 5)
    longest = max((len(visible(row["name"])) for row in named), default=0)
    name = min(max(longest + 1, least), max(least, room() // 3))
    wanted = max([*(len(_what(row)) + 1 for row in named), *(len(_what(row)) - name for row in rest)], default=0)
    return _Widths(name, min(room() - 1 - name, max(wanted, len("type") + 1)), aside)


def html(frame: pd.DataFrame) -> str:
    """Return a frame as HTML."""
    named, rest, hidden = _parts(frame)
    greatest = _greatest(frame)
    shown = [name for name in _SIZES if name in {"resident", "frees"} or frame[name].any()]
    heads = [html_table.column_heads(part) for part in (("name", "type", "resident"), shown[1:])]
    heads[0] = heads[0].replace('scope="col"', f'scope="col" {_LEFT}', 2)
    rows = [_html_row(row, greatest, shown) for row in named]
    rows += [_wide(line, len(shown) + 3) for line in hidden]
    if rest:
        rows += [_wide(_REST, len(shown) + 3), *(_html_row(row, greatest, shown) for row in rest)]
    made = html_table.table(rows, html_table.row(heads[0], html_table.cell(), heads[1]), 'class="dataframe"')
    used = [pair for pair, name in zip(_LEGEND, ("resident", "huge", "swapped"), strict=True) if frame[name].any()]
    legend = " &ensp; ".join(f"{svg_image.swatch(look)} {escape(words)}" for look, words in used)
    below = paragraph([*_total(frame), *_remarks(frame)])
    return "".join([paragraph([_headline(frame)]), scrolled(made, "table of variables"), f"<p>{legend}</p>", below])


def _parts(frame: pd.DataFrame) -> tuple[list[Any], list[Any], list[str]]:
    """Return the rows of names to show, those of the rest, and lines about other names."""
    is_named = frame["name"] != ""
    named = frame[is_named]
    has_own = (named["bytes"] > 0) | (named["remark"] != "")
    without = named.loc[~has_own, "name"].tolist()
    named = named[has_own]
    most = pandas_table.most_rows(len(named))
    others, lines = named["resident"].iloc[most:], []
    if len(others):
        more = f"{counted(len(others), 'more name')}: {size(int(others.sum()))}"
        lines.append(f"{more}; pandas.options.display.max_rows = None shows all")
    if without:
        some = ", ".join(map(visible, without[:_FEW])) + (", …" if len(without) > _FEW else "")
        lines.append(f"{counted(len(without), 'name')} of modules, classes and the like: {cut(some, _SOME)}")
    return named.iloc[:most].to_dict("records"), frame[~is_named].to_dict("records"), lines


def _greatest(frame: pd.DataFrame) -> int:
    return max(1, int((frame["resident"] + frame["swapped"]).max()))


def _headline(frame: pd.DataFrame) -> str:
    named = frame[frame["name"] != ""]
    resident, whole = int(named["resident"].sum()), int(frame["resident"].sum())
    pid = f" in the child {frame.attrs['pid']}, by this process' names" if frame.attrs.get("own") is False else ""
    said = f"{counted(len(named), 'name')}{pid}: {size(resident)} resident"
    return f"{said}, {share(resident, whole)} of all in memory" if whole else said


def _total(frame: pd.DataFrame) -> list[str]:
    """Return the line of the total; none if the rest of the process is not there."""
    if (frame["name"] != "").all():
        return []
    total = f"total: {size(int(frame['resident'].sum()))} resident"
    return [f"{total}; the kernel counts {size(int(frame.attrs['rss']))}" if "rss" in frame.attrs else total]


def _remarks(frame: pd.DataFrame) -> list[str]:
    found = [
        f"{visible(name or kind)}: {visible(remark)}"
        for name, kind, remark in zip(frame["name"], frame["type"], frame["remark"], strict=True)
        if remark
    ]
    trim = frame.loc[frame["type"] == "malloc, free but resident", "resident"].sum()
    if trim:
        found.insert(0, f"malloc keeps {size(int(trim))} that is free; pte_magic.trim() gives it back")
    more = [f"… and {len(found) - _MOST_REMARKS} more in the column remark"] if len(found) > _MOST_REMARKS else []
    return [*found[:_MOST_REMARKS], *more]


def _what(row: dict[str, Any]) -> str:
    if row["name"]:
        return visible(f"{row['type']} {row['says']}".rstrip())
    large = "" if row["resident"] else f" {size(int(row['bytes']))}"
    return visible(f"{row['type']}{large}{f': {said}' if (said := row['says']) else ''}")


def _line(row: dict[str, Any], greatest: int, widths: _Widths) -> str:
    filled = round(_BAR * int(row["resident"]) / greatest)
    bar = "#" * filled or ("." if row["resident"] else "")
    huge = f"{int(row['huge']) / int(row['resident']):.0%}" if row["huge"] else ""
    frees = _size(row["frees"]) if row["name"] else ""
    return _columns((row["name"], _what(row), _size(row["resident"]), bar, huge, frees), widths)


def _columns(cells: tuple[str, ...], widths: _Widths) -> str:
    """Return the columns of a line; without a name, the next column has its place, too."""
    name, what, resident, *aside = cells
    head = f"{cut(visible(name), widths.name - 1, in_middle=True):{widths.name}} "
    head += f"{cut(what, widths.what - 1):{widths.what}}"
    if not name:
        both = widths.name + widths.what
        head = f"{cut(what, both):{both + 1}}"
    shown = {key: cell for key, cell in zip(_ASIDE, aside, strict=True) if key in widths.aside}
    rest = [cell.ljust(_BAR) if key == "bar" else cell.rjust(widths.aside[key]) for key, cell in shown.items()]
    return " ".join([head, resident.rjust(_SIZE), *rest]).rstrip()


def _size(bytes_: Any) -> str:
    return size(int(bytes_)) if bytes_ else MISSING


def _html_row(row: dict[str, Any], greatest: int, shown: Iterable[str]) -> str:
    sizes = [_size(row[name]).replace(" ", "\N{NO-BREAK SPACE}") for name in shown]
    if not row["name"]:
        sizes[-1] = ""
    head = html_table.row_head(escape(row["name"]), _LEFT) if row["name"] else html_table.cell()
    what = html_table.cell(escape(_what(row)), _LEFT)
    bar = html_table.cell(_bar(row, greatest))
    return html_table.row(head, what, html_table.cells(sizes[:1]), bar, html_table.cells(sizes[1:]))


def _bar(row: dict[str, Any], greatest: int) -> str:
    """Return the bar of a row: bytes on small pages, on huge ones, and swapped out."""
    huge = int(row["huge"])
    parts = [int(row["resident"]) - huge, huge, int(row["swapped"])]
    left, drawn = 0.0, []
    for code, bytes_ in enumerate(parts):
        width = bytes_ / greatest * _WIDTH
        if bytes_:
            drawn.append(
                f'<rect x="{left:.1f}" width="{max(width, 0.5):.1f}" height="{_HEIGHT}" {svg_image.filled(code)}/>'
            )
        left += width
    looks = {code: _LEGEND[code][0] for code, bytes_ in enumerate(parts) if bytes_}
    return svg_image.image("".join(drawn), _WIDTH, _HEIGHT, looks, "", _NARROWEST) if drawn else ""


def _wide(words: str, columns: int) -> str:
    return html_table.row(html_table.cell(escape(words), f'colspan="{columns}" {_LEFT}'))
