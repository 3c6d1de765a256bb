"""`BitField`: an entry as a picture that one can play with."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import traitlets

from pte_magic.errors import TargetError
from pte_magic.formats import kernel
from pte_magic.formats.describe import Description, describe
from pte_magic.views import picture
from pte_magic.views.markup import STATIC, framed
from pte_magic.views.view import View
from pte_magic.walkers.entries import LEVELS

_LIMIT = 1 << 64


class Entry(traitlets.TraitType[int, int]):
    """A raw entry: in Python an int of 64 bits, in the browser a text in hex, as its numbers have 53 bits."""

    default_value = 0
    info_text = f"a number from 0 to {_LIMIT - 1:#x}"

    def validate(self, obj: Any, value: Any) -> int:
        """Take numbers of Python and of numpy, and texts in hex as the browser sends them."""
        try:
            number = int(value, 0) if isinstance(value, str) else operator.index(value)
        except (TypeError, ValueError):
            self.error(obj, value)
        if not 0 <= number < _LIMIT:
            self.error(obj, value)
        return number


def _to_hex(value: int, _widget: object) -> str:
    return f"{value:#018x}"


class BitField(View):
    """An entry as a picture of its 64 bits, and a table of its fields.

    Click a bit, or type an entry, and the decoding follows. What is changed is a number in Python and nothing else: no
    page table is ever written to.

    Attributes:
        entry: The raw entry, an int; observe it, or link it to other widgets. In the browser it is a text in hex.
        level: Where it was found: pgd, p4d, pud, pmd or pte.

    """

    _esm = STATIC / "bits.js"
    entry = Entry().tag(sync=True, to_json=_to_hex)
    level = traitlets.Enum(LEVELS, "pte").tag(sync=True)
    _original = Entry().tag(sync=True, to_json=_to_hex)
    _content = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        entry: int | np.integer[Any],
        level: str = "pte",
        *,
        encryption_mask: int = 0,
        frames_hidden: bool = False,
    ) -> None:
        """Show an entry.

        Args:
            entry: The raw entry.
            level: Where it was found.
            encryption_mask: The bit by which its machine's entries say that memory is encrypted, or 0.
            frames_hidden: Whether its page frame number or swap location was taken out of it.

        Raises:
            TargetError: No 64-bit number, or no such level.

        """
        if level not in LEVELS:
            message = f"level {level!r} does not exist; type one of {', '.join(LEVELS)}"
            raise TargetError(message)
        if isinstance(entry, bool) or not isinstance(entry, (int, np.integer)) or not 0 <= int(entry) < _LIMIT:
            message = f"{entry!r} is no 64-bit entry; type a number from 0 to {_LIMIT - 1:#x}"
            raise TargetError(message)
        self._kernel = kernel.running(encryption_mask, frames_hidden)
        super().__init__(entry=int(entry), level=level, _original=int(entry))
        self._draw()

    @property
    def description(self) -> Description:
        """What the entry says, and its parts."""
        return describe(self.entry, self.level, self._kernel)

    def text(self) -> str:
        """Return the picture as text."""
        return picture.text(self.description, differ=self._differ)

    def html(self) -> str:
        """Return the picture as HTML, which cannot be clicked at."""
        return framed(picture.html(self.description, differ=self._differ), "bits")

    @property
    def _differ(self) -> int:
        return self.entry ^ self._original

    @traitlets.observe("entry", "level")
    def _draw(self, _change: object = None) -> None:
        if hasattr(self, "_kernel"):
            body = picture.html(self.description, differ=self._differ, editable=True)
            self._content = framed(body, "bits")
