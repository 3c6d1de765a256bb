"""Page-table entries of running processes, as data: type ``%pte a`` and see what lies behind the array ``a``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pte_magic.api.doctor import doctor
from pte_magic.api.machine.processes import Processes, machine
from pte_magic.api.pte_frame import PteFrame
from pte_magic.api.snapshots.load import load
from pte_magic.api.snapshots.take import snapshot
from pte_magic.api.stream import stream
from pte_magic.api.walk import decode, entries, walk
from pte_magic.api.watch import watch
from pte_magic.errors import PteMagicError
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from pte_magic.views.bits import BitField

__version__ = "0.1.0"

__all__ = [
    "BitField",
    "Processes",
    "PteFrame",
    "PteMagicError",
    "decode",
    "doctor",
    "entries",
    "load",
    "load_ipython_extension",
    "machine",
    "snapshot",
    "stream",
    "walk",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name == "BitField":
        with deferred():
            from pte_magic.views.bits import BitField  # noqa: PLC0415  (widgets take as long to import as all else)

        return BitField
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to a shell; IPython calls this for ``%load_ext pte_magic``."""
    with deferred():
        from pte_magic.notebook.extension import load  # noqa: PLC0415  (at the top, IPython would be needed for walk() too)

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again and unload what was loaded into the kernel, for ``%unload_ext pte_magic``."""
    with deferred():
        from pte_magic.notebook.extension import unload  # noqa: PLC0415  (at the top, IPython would be needed for walk() too)

    unload(shell)
