"""`Translation`: the way from a virtual address to a physical one, page table by page table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from pte_magic.dataframes import row_kernels
from pte_magic.dataframes.frame_kinds import is_chain
from pte_magic.errors import TargetError
from pte_magic.formats.describe import HIDDEN, Description, describe, hexadecimal
from pte_magic.linux import geometry
from pte_magic.linux.importing import importing
from pte_magic.text import screen
from pte_magic.text.units import size
from pte_magic.views import entry_picture, pandas_table, svg_document
from pte_magic.views.html_table import cells, column_heads, row, row_head, table
from pte_magic.views.markup import KEYS, escape, framed, scrolled
from pte_magic.views.picture_file import Picture

if TYPE_CHECKING:
    from pte_magic.views.bits import BitField

_BELOW_STEP = " " * 10
_SHORT, _ADDRESS = 32, 64  # bits of an address


class Piece(NamedTuple):
    """Some bits of a virtual address.

    Attributes:
        name: The level into whose page table they are an index, or ``sign`` or ``offset``.
        low: Number of the lowest bit.
        width: The number of bits.
        value: Their value.

    """

    name: str
    low: int
    width: int
    value: int


class Translation(Picture):
    """One address on its way through the page tables.

    Attributes:
        address: The virtual address.
        physical: The physical address that it leads to, or None.
        pieces: The virtual address, cut into indices, the highest bits first.
        entries: The entries on the way, the topmost first, each with its fields in words.

    """

    __module__ = "pte_magic"

    def __init__(self, frame: pd.DataFrame, address: int | None = None) -> None:
        """Explain a frame.

        Args:
            frame: The entries of one address, one row per level, as ``walk(address)`` returns them.
            address: The address; by default the first one that the last entry covers.

        Raises:
            TargetError: The frame is not that of a single address, or has no raw entries.

        """
        if not is_chain(frame):
            raise TargetError(_why_not(frame))
        levels, leaf = list(frame["level"]), frame.iloc[-1]
        self.address = int(leaf["vaddr"]) if address is None else address
        running = row_kernels.of_all(frame)
        self._kernel = running
        self._pictures: list[BitField] = []
        self.entries: tuple[Description, ...] = tuple(
            describe(int(row["entry"]), level, running, covers=int(row["size"]))
            for level, (_, row) in zip(levels, frame.iterrows(), strict=True)
        )
        covered = int(leaf["size"])
        maps = self.entries[-1].state in {"present", "protnone"}
        is_told = maps and not running.frames_hidden
        page = 1 << running.format.page_shift
        self.physical = int(leaf["pfn"]) * page + self.address % covered if is_told else None
        self._ends = f"{levels[-1]}: {self.entries[-1].says}"
        self._size = covered
        mapped = 0 if "mapped" not in frame.columns or pd.isna(leaf["mapped"]) else int(leaf["mapped"])
        self._block = f", one of a block of {size(mapped)}" if mapped > covered else ""
        # The host that the frame comes from may be another one.
        encoding = running.format.name
        depth = geometry.levels(encoding, int(frame["size"].iloc[0]))
        self.pieces = tuple(_cut(self.address, levels[-1], encoding, geometry.shifts(encoding, depth)))

    @property
    def headline(self) -> str:
        """The line about the translation."""
        if self.physical is None:
            return f"virtual address {self.address:#x}: ends at {self._ends}"
        page = f"in a page of {size(self._size)}{self._block}"
        return f"virtual address {self.address:#x}: physical address {self.physical:#x}, {page}"

    def _steps(self) -> list[tuple[str, str, Description]]:
        """Return for each entry its place in its page table, the place of that table, and the entry in words."""
        index = {piece.name: piece.value for piece in self.pieces}
        where, found = "that CR3 points to", []
        for entry in self.entries:
            found.append((f"{entry.level}[{index[entry.level]}]", where, entry))
            frames = [part.says for part in entry.parts if part.name == "pfn"]
            where = f"at {frames[0].rpartition(' ')[2]}" if frames else ""
            where = "that it points to" if frames == [HIDDEN] else where
        return found

    def text(self) -> str:
        """Return the way as text."""
        columns, (headline, *lines) = pandas_table.width(), self._lines()
        at = len(lines) - len(self.entries)
        steps = [screen.fitted(line, columns, _BELOW_STEP) for line in lines[at:]]
        return "\n".join([*pandas_table.sentences([headline]), *lines[:at], *steps])

    def _lines(self) -> list[str]:
        """Return the headline, the address, and a line for each entry."""
        cells = [(f"{p.low + p.width - 1}:{p.low}", p.name, _number(p), f"{p.value:0{p.width}b}") for p in self.pieces]
        widths = [max(map(len, cell)) for cell in cells]
        lines = [
            "  ".join(word.rjust(width) for word, width in zip(words, widths, strict=True))
            for words in zip(*cells, strict=True)
        ]
        for place, where, entry in self._steps():
            lines.append(
                f"{place:>9} of the page table {where}: "
                f"{hexadecimal(entry.entry, entry.width)} {entry.state}, {entry.says}"
            )
        return [self.headline, *lines]

    def html(self) -> str:
        """Return the way as HTML; each entry opens its picture."""
        return self._html([entry_picture.html(entry) for entry in self.entries])

    def _html(self, pictures: list[str]) -> str:
        rows = (
            ("bits", [f"{piece.low + piece.width - 1}:{piece.low}" for piece in self.pieces]),
            ("binary", [f"{piece.value:0{piece.width}b}" for piece in self.pieces]),
            ("value", [_number(piece) for piece in self.pieces]),
        )
        head = row(column_heads(["address", *(piece.name for piece in self.pieces)]))
        body = [row(row_head(name), cells(words)) for name, words in rows]
        address = scrolled(table(body, head, 'class="pte-address"'), "the address, cut into indices")
        steps = "".join(
            f"<li><details><summary {KEYS}><code>{place}</code> of the page table {where}: "
            f"<code>{hexadecimal(entry.entry, entry.width)}</code> <b>{entry.state}</b>, {escape(entry.says)}</summary>"
            f"{picture}</details></li>"
            for (place, where, entry), picture in zip(self._steps(), pictures, strict=True)
        )
        head = f'<p class="pte-says">{escape(self.headline)}</p>'
        return framed(f'{head}{address}<ol class="pte-steps">{steps}</ol>', "bits", "translation")

    def svg(self) -> str:
        """Return the way as an SVG document: the address, and the bits of each entry."""
        way = self._lines()
        pieces = [svg_document.words(way[: -len(self.entries)])]
        for line, entry in zip(way[-len(self.entries) :], self.entries, strict=True):
            pieces += [svg_document.words([line]), entry_picture.drawings(entry)[1]]
        return svg_document.document(pieces)

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        with importing():
            from pte_magic.views.bits import BitField  # noqa: PLC0415  (widgets take as long to import as all else)

        if not self._pictures:
            kernel = self._kernel
            self._pictures = [BitField(entry.entry, entry.level, kernel=kernel) for entry in self.entries]
        return self._html([picture.placed() for picture in self._pictures])


def _why_not(frame: pd.DataFrame) -> str:
    missing = frame["entry"].isna().to_numpy()
    if missing.any():
        at = int(missing.argmax())
        walker = frame["walker"].iloc[at] if "walker" in frame.columns else "its origin"
        return f"row {at} has no raw entry: {walker} shows none; {screen.doctor()} says which walker does"
    which = "this row is" if len(frame) == 1 else f"these {len(frame):,} rows are"
    return f"{which} not the translation of one address; type pte_magic.walk(ADDRESS)"


def _cut(address: int, last: str, encoding: str, shifts: dict[str, int]) -> list[Piece]:
    """Cut an address into the indices of its levels, and the offset in the page."""
    cut = geometry.GEOMETRIES[encoding]
    end = min(shifts["pgd"] + cut.index_bits, cut.address_bits)
    pieces = [Piece("sign", end, _ADDRESS - end, address >> end)] if cut.address_bits > _SHORT else []
    for name, low in shifts.items():
        pieces.append(Piece(name, low, end - low, address >> low & (1 << end - low) - 1))
        end = low
        if name == last:
            break
    return [*pieces, Piece("offset", 0, end, address & (1 << end) - 1)]


def _number(piece: Piece) -> str:
    return f"{piece.value:#x}" if piece.name in {"sign", "offset"} else str(piece.value)
