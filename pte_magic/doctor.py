"""Which walkers work here, what each can see, and what to type where one cannot."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from pte_magic import walkers
from pte_magic.errors import WalkerUnavailableError
from pte_magic.escapes import visible
from pte_magic.hardware import PAGE_SIZE
from pte_magic.space import own
from pte_magic.systemtap import toolchain
from pte_magic.walkers import helper, stap

_SEES = {
    "bpf": "raw entries of all levels, every bit",
    "helper": "raw entries of all levels, as the helper reads them",
    "stap": "raw entries of all levels, every bit, read under the kernel's locks",
    "pagemap": "present, swapped, file, soft-dirty, huge; no raw entries",
}
_AS_PAGEMAP = ("stap", "pagemap")
"""Walkers that show page frames to those only to whom the kernel shows them in the same /proc/PID/pagemap."""


class Report(pd.DataFrame):
    """A DataFrame that shows its texts in full: what to type is of no use when it is cut."""

    @property
    def _constructor(self) -> type[Report]:
        return Report

    def __repr__(self) -> str:
        return self.to_string()

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return self.to_html(notebook=True)


def doctor() -> pd.DataFrame:
    """Tell which walkers work here.

    Returns:
        A row a walker, the one that sees most first; ``walker="auto"`` takes the first that works. Columns ``walker``;
        ``works`` (boolean, ``<NA>`` if it would have to be compiled to find out); ``sees``, what it can read; ``note``,
        why it does not work or what it cannot see, and what to type.

    """
    rows: list[tuple[str, object, str, str]] = []
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
        if isinstance(found, helper.HelperWalker) and found.frames_hidden:
            note = (
                "no page frame numbers and swap locations, which are for the group of `pte-magic serve --frames GROUP`"
            )
        if works and name in _AS_PAGEMAP and not _frames_are_shown():
            note = "no page frame numbers and swap locations without CAP_SYS_ADMIN; start Python or JupyterLab as root"
        rows.append((name, works, _SEES[name], note))
    return Report(rows, columns=["walker", "works", "sees", "note"]).astype({"works": "boolean"})


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
