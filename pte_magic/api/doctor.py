"""Which walkers work here, what each can see, and what to type where one cannot."""

from __future__ import annotations

import html
import os

import numpy as np
import pandas as pd

from pte_magic import walkers
from pte_magic.errors import WalkerUnavailableError
from pte_magic.errors.escapes import visible
from pte_magic.linux.address_space import own
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.systemtap import toolchain
from pte_magic.walkers import helper_client, pagemap, stap, what_to_type

_SEES = {
    "bpf": "raw entries of all levels, every bit",
    "helper": "raw entries of all levels, as the helper reads them",
    "stap": "raw entries of all levels, every bit, read under the kernel's locks",
    "pagemap": "present, swapped, file, soft-dirty, huge; no raw entries",
}
_BY = {"bpf": "eBPF", "helper": "the helper", "stap": "SystemTap", "pagemap": "/proc/PID/pagemap"}
_SEEN = {
    (True, True): "raw entries and page frames",
    (True, False): "raw entries, but no page frames",
    (False, True): "page frames, but no raw entries",
    (False, False): "which pages are present, but no raw entries or page frames",
}
"""What somebody sees who sees raw entries, or not, and page frames, or not."""
_NO_FRAMES = "no page frame numbers and swap locations"
_AS_PAGEMAP = ("stap", "pagemap")
"""Walkers that show page frames to those only to whom the kernel shows them in the same /proc/PID/pagemap."""


class Report(pd.DataFrame):
    """A DataFrame that shows its texts in full: what to type is of no use when it is cut.

    What this user sees, in one sentence, comes first: `attrs` has it as ``sees``.
    """

    @property
    def _constructor(self) -> type[Report]:
        return Report

    def __repr__(self) -> str:
        return "\n".join([*self._sentence(), self.to_string()])

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            table = self.to_html(notebook=True)
        return "\n".join([*(f"<p>{html.escape(line)}</p>" for line in self._sentence()), table])

    def _sentence(self) -> list[str]:
        return [self.attrs["sees"]] if "sees" in self.attrs else []


def doctor() -> pd.DataFrame:
    """Tell what this user sees, and which walkers work here.

    Returns:
        A table, shown with a sentence before it that says what `walk` gives: raw entries, page frames, both or neither.
        A row a walker, the one that sees most first; ``walker="auto"`` takes the first that works. Columns ``walker``;
        ``works`` (boolean, ``<NA>`` if it would have to be compiled to find out); ``sees``, what it can read; ``note``,
        why it does not work or what it cannot see, and what to type.

    """
    rows: list[tuple[str, object, str, str]] = []
    frames_are_shown = _frames_are_shown()
    for name in walkers.NAMES:
        if name == stap.NAME and _must_be_compiled():
            note = "not compiled yet, which takes some seconds once a kernel; type `%pte --walker stap self`"
            if toolchain.signed_only():
                note += f"; {toolchain.SIGNED}, and that says how"
            rows.append((name, pd.NA, _SEES[name], note))
            continue
        found = walkers.attempt(name, again=name != stap.NAME or stap.why_not() is not None or stap.is_ready())
        works = not isinstance(found, WalkerUnavailableError)
        note = visible(found.why) if isinstance(found, WalkerUnavailableError) else ""
        if isinstance(found, helper_client.HelperWalker) and found.address_bits.frames_hidden:
            note = f"{_NO_FRAMES}, which are for a group; to make it yours, type `{what_to_type.show_frames()}`"
        if works and name in _AS_PAGEMAP and not frames_are_shown:
            note = f"{_NO_FRAMES} without CAP_SYS_ADMIN; a helper tells them, type `{what_to_type.show_frames()}`"
        rows.append((name, works, _SEES[name], note))
    report = Report(rows, columns=["walker", "works", "sees", "note"]).astype({"works": "boolean"})
    best, surely = next((row[0], row[1] is True) for row in rows if row[1] is not False)
    report.attrs["sees"] = _sentence(best, known=surely, frames=_shows_frames(best, as_pagemap=frames_are_shown))
    return report


def _shows_frames(name: str, *, as_pagemap: bool) -> bool:
    """Tell whether a walker that works shows page frames."""
    found = walkers.known(name)
    if isinstance(found, helper_client.HelperWalker):
        return not found.address_bits.frames_hidden
    return as_pagemap if name in _AS_PAGEMAP else True


def _sentence(name: str, *, known: bool, frames: bool) -> str:
    """Say what this user sees by a walker; it is not `known` if that would have to be compiled first."""
    seen = f"You see {_SEEN[name != pagemap.NAME, frames]}, by {_BY[name]} (walker {name})"
    return f"{seen}." if known else f"{seen}, if its module can be compiled, which the next walk tries."


def _must_be_compiled() -> bool:
    """Tell whether the module of the stap walker would have to be compiled first, which nobody has tried."""
    known = walkers.known(stap.NAME)
    tried = known and not (isinstance(known, WalkerUnavailableError) and known.__cause__ is None)
    return not tried and stap.why_not() is None and not stap.is_ready()


def _frames_are_shown() -> bool:
    """Tell whether pagemap shows page frames to this process: it then gives one for a page that is surely there."""
    page = np.ones(PAGE_SIZE, np.uint8)
    word = int.from_bytes(os.pread(own().fd, 8, page.ctypes.data // PAGE_SIZE * 8), "little")
    return bool(word & ((1 << 55) - 1))
