"""`BitField`: an interactive picture of an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from pte_magic.errors import arguments
from pte_magic.formats import entry_arguments
from pte_magic.formats import kernel as kernels
from pte_magic.formats.describe import Description, describe, hexadecimal
from pte_magic.linux.geometry import LEVELS
from pte_magic.text import screen, typed_numbers
from pte_magic.views import entry_picture, entry_text, svg_document
from pte_magic.views.markup import framed, module, script
from pte_magic.views.widget import View

if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel


class Entry(traitlets.TraitType[int, int]):
    """A raw entry: in Python an int, in the browser a text in hex, as its numbers have 53 bits."""

    default_value = 0

    def validate(self, obj: Any, value: Any) -> int:
        """Take numbers of Python and of numpy, and texts, as the browser sends them or a user types them in %pte."""
        width: int = obj._width  # noqa: SLF001  (a trait is a part of its widget)
        typed = typed_numbers.number(value, digits_are_hex=True, bits=width) if isinstance(value, str) else None
        number = typed.value if typed else arguments.index(value)
        if number is None or number < 0 or number >> width:
            message = f"{self.name} is a number from 0 to {(1 << width) - 1:#x}, not {arguments.shown(value)}"
            raise traitlets.TraitError(message)
        return number


def _to_hex(value: int, widget: Any) -> str:
    return hexadecimal(value, widget._width)  # noqa: SLF001  (as above)


class BitField(View):
    """An entry as a picture of its bits, and a table of its fields.

    Click a bit, or type an entry, and the decoding follows. This changes only a number in Python: nothing is ever
    written to a page table.

    Attributes:
        entry: The raw entry, an int; observe it, or link it to other widgets. In the browser it is a text in hex.
        level: Its level: pgd, p4d, pud, pmd or pte.

    """

    __module__ = "pte_magic"

    _esm = module(script("bits"))
    entry = Entry().tag(sync=True, to_json=_to_hex)
    level = traitlets.Enum(LEVELS, "pte").tag(sync=True)
    _width = traitlets.Int(64).tag(sync=True)
    _original = Entry().tag(sync=True, to_json=_to_hex)
    _content = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        entry: int | np.integer[Any],
        level: str = "pte",
        *,
        kernel: Kernel | None = None,
    ) -> None:
        """Show an entry.

        Args:
            entry: The raw entry.
            level: Its level.
            kernel: The kernel that it comes from; by default the running one.

        Raises:
            TargetError: It is not an entry of the kernel's format, or there is no such level.

        """
        width = (kernel or kernels.running()).format.bits
        raw = entry_arguments.number(entry, width)
        kernel = kernel or kernels.here(np.array([raw], np.uint64))
        entry_arguments.levels([level], 1, kernel.format.levels)
        self._kernel = kernel
        super().__init__(_width=width, entry=raw, level=level, _original=raw)
        self._draw()

    @property
    def description(self) -> Description:
        """The entry in words, and its parts."""
        return describe(self.entry, self.level, self._kernel)

    def text(self) -> str:
        """Return the picture as text."""
        return entry_text.text(self.description, differ=self._differ, width=screen.width())

    def html(self) -> str:
        """Return the picture as HTML, without interaction."""
        return framed(entry_picture.html(self.description, differ=self._differ), "bits")

    def svg(self) -> str:
        """Return the picture as an SVG document."""
        return svg_document.document(entry_picture.drawings(self.description, differ=self._differ))

    @property
    def _differ(self) -> int:
        return self.entry ^ self._original

    @traitlets.validate("level")
    def _has_level(self, proposal: Any) -> str:
        level: str = proposal["value"]
        if hasattr(self, "_kernel") and level not in self._kernel.format.levels:
            message = f"level is one of {', '.join(self._kernel.format.levels)}, not {level!r}"
            raise traitlets.TraitError(message)
        return level

    @traitlets.observe("entry", "level")
    def _draw(self, _change: object = None) -> None:
        if hasattr(self, "_kernel"):
            body = entry_picture.html(self.description, differ=self._differ, editable=True)
            self._content = framed(body, "bits")
