"""Page-table entries of running processes, as data: type ``%pte a`` and see what lies behind the array ``a``."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from pte_magic.api import pte_diff, pte_frame
from pte_magic.api.decode import decode
from pte_magic.api.doctor import doctor
from pte_magic.api.machine import processes
from pte_magic.api.machine.processes import Processes, machine
from pte_magic.api.pte_diff import PteDiff, PteDiffs
from pte_magic.api.pte_frame import PteFrame
from pte_magic.api.snapshots.load import load
from pte_magic.api.snapshots.saved import Snapshot
from pte_magic.api.snapshots.take import snapshot
from pte_magic.api.stream import stream
from pte_magic.api.walk import entries, walk
from pte_magic.api.watch import Watch, watch
from pte_magic.errors import (
    AccessDeniedError,
    MissingPackageError,
    NoAddressSpaceError,
    NoProcError,
    NoSuchProcessError,
    PteMagicError,
    ResourceError,
    SystemTapError,
    TargetError,
    UnstableError,
    WalkerClosedError,
    WalkerUnavailableError,
    WorkloadError,
)
from pte_magic.linux.interrupts import deferred
from pte_magic.walkers.entries import Entries

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from pte_magic.views.bits import BitField
    from pte_magic.views.page_map.page_map import PageMap
    from pte_magic.views.translation import Translation

__version__ = "0.1.0"

__all__ = [
    "AccessDeniedError",
    "BitField",
    "Entries",
    "MissingPackageError",
    "NoAddressSpaceError",
    "NoProcError",
    "NoSuchProcessError",
    "PageMap",
    "Processes",
    "PteDiff",
    "PteDiffs",
    "PteFrame",
    "PteMagicError",
    "ResourceError",
    "Snapshot",
    "SystemTapError",
    "TargetError",
    "Translation",
    "UnstableError",
    "WalkerClosedError",
    "WalkerUnavailableError",
    "Watch",
    "WorkloadError",
    "decode",
    "doctor",
    "entries",
    "load",
    "machine",
    "snapshot",
    "stream",
    "walk",
    "watch",
]

_LESSONS = "workloads"  # most programs do not need it

# Widgets take as long to import as all else.
_LATER = {
    "BitField": "pte_magic.views.bits",
    "PageMap": "pte_magic.views.page_map.page_map",
    "Translation": "pte_magic.views.translation",
}

# Pickles that were made when these modules had other names load, too.
sys.modules |= {
    "pte_magic.difference": pte_diff,
    "pte_magic.differences": pte_diff,
    "pte_magic.frame": pte_frame,
    "pte_magic.processes": processes,
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        with deferred():
            return getattr(importlib.import_module(_LATER[name]), name)
    if name == _LESSONS:
        with deferred():
            return importlib.import_module(f"{__name__}.{name}")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to a shell; IPython calls this for ``%load_ext pte_magic``."""
    with deferred():
        from pte_magic.notebook.extension import load  # noqa: PLC0415  (at the top, IPython would be needed for walk())

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove the magics and unload what was loaded into the kernel, for ``%unload_ext pte_magic``."""
    with deferred():
        from pte_magic.notebook.extension import unload  # noqa: PLC0415  (at the top, IPython would be needed for walk())

    unload(shell)
