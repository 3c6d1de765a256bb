"""Page-table entries of running processes, as data: type ``%pte a`` and see what lies behind the array ``a``."""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pte_magic.linux.importing import importing

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from pte_magic.api.decode import decode
    from pte_magic.api.doctor import doctor
    from pte_magic.api.faults.fault_rows import FaultRows
    from pte_magic.api.faults.seen import SeenFaults, faults
    from pte_magic.api.machine.processes import Processes, machine
    from pte_magic.api.page_cache import PageCache, page_cache
    from pte_magic.api.pte_diff import PteDiff, PteDiffs
    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.api.regions import Regions
    from pte_magic.api.shared import Shared, shared
    from pte_magic.api.shared_watch import SharedWatch
    from pte_magic.api.snapshots.load import load
    from pte_magic.api.snapshots.saved_snapshot import Snapshot
    from pte_magic.api.snapshots.take_snapshot import snapshot
    from pte_magic.api.stream import stream
    from pte_magic.api.summary import Summary
    from pte_magic.api.variables.trim import Trimmed, trim
    from pte_magic.api.variables.variables import Variables, variables
    from pte_magic.api.walk import entries, walk
    from pte_magic.api.watch import Watch, watch
    from pte_magic.api.why.why import Why, why
    from pte_magic.errors import (
        AccessDeniedError,
        MissingPackageError,
        NoAddressSpaceError,
        NoProcError,
        NoSuchProcessError,
        PteMagicError,
        ResourceError,
        SourceUnavailableError,
        SystemTapError,
        TargetError,
        UnstableError,
        WalkerClosedError,
        WalkerUnavailableError,
        WorkloadError,
    )
    from pte_magic.views.bits import BitField
    from pte_magic.views.faults_timeline import Timeline
    from pte_magic.views.page_map.page_map import PageMap
    from pte_magic.views.translation import Translation
    from pte_magic.walkers.entries import Entries

__version__ = "0.1.0"

__all__ = [
    "AccessDeniedError",
    "BitField",
    "Entries",
    "FaultRows",
    "MissingPackageError",
    "NoAddressSpaceError",
    "NoProcError",
    "NoSuchProcessError",
    "PageCache",
    "PageMap",
    "Processes",
    "PteDiff",
    "PteDiffs",
    "PteFrame",
    "PteMagicError",
    "Regions",
    "ResourceError",
    "SeenFaults",
    "Shared",
    "SharedWatch",
    "Snapshot",
    "SourceUnavailableError",
    "Summary",
    "SystemTapError",
    "TargetError",
    "Timeline",
    "Translation",
    "Trimmed",
    "UnstableError",
    "Variables",
    "WalkerClosedError",
    "WalkerUnavailableError",
    "Watch",
    "Why",
    "WorkloadError",
    "decode",
    "doctor",
    "entries",
    "faults",
    "load",
    "machine",
    "page_cache",
    "shared",
    "snapshot",
    "stream",
    "trim",
    "variables",
    "walk",
    "watch",
    "why",
]

_PACKAGES = ("walkers", "workloads")  # in which users find more; most programs do not need them

# The module of each name, which is imported when somebody asks for the name. Most need pandas, which takes as long to
# import as all else, and the helper and `pte-magic show PID ADDRESS` have no use for it. Widgets take as long again.
_MODULES = {
    "AccessDeniedError": "pte_magic.errors",
    "BitField": "pte_magic.views.bits",
    "FaultRows": "pte_magic.api.faults.fault_rows",
    "Entries": "pte_magic.walkers.entries",
    "MissingPackageError": "pte_magic.errors",
    "NoAddressSpaceError": "pte_magic.errors",
    "NoProcError": "pte_magic.errors",
    "NoSuchProcessError": "pte_magic.errors",
    "PageCache": "pte_magic.api.page_cache",
    "PageMap": "pte_magic.views.page_map.page_map",
    "Processes": "pte_magic.api.machine.processes",
    "PteDiff": "pte_magic.api.pte_diff",
    "PteDiffs": "pte_magic.api.pte_diff",
    "PteFrame": "pte_magic.api.pte_frame",
    "PteMagicError": "pte_magic.errors",
    "Regions": "pte_magic.api.regions",
    "ResourceError": "pte_magic.errors",
    "SeenFaults": "pte_magic.api.faults.seen",
    "Shared": "pte_magic.api.shared",
    "SharedWatch": "pte_magic.api.shared_watch",
    "Snapshot": "pte_magic.api.snapshots.saved_snapshot",
    "SourceUnavailableError": "pte_magic.errors",
    "Summary": "pte_magic.api.summary",
    "SystemTapError": "pte_magic.errors",
    "TargetError": "pte_magic.errors",
    "Timeline": "pte_magic.views.faults_timeline",
    "Translation": "pte_magic.views.translation",
    "Trimmed": "pte_magic.api.variables.trim",
    "UnstableError": "pte_magic.errors",
    "Variables": "pte_magic.api.variables.variables",
    "WalkerClosedError": "pte_magic.errors",
    "WalkerUnavailableError": "pte_magic.errors",
    "Watch": "pte_magic.api.watch",
    "Why": "pte_magic.api.why.why",
    "WorkloadError": "pte_magic.errors",
    "decode": "pte_magic.api.decode",
    "doctor": "pte_magic.api.doctor",
    "entries": "pte_magic.api.walk",
    "faults": "pte_magic.api.faults.seen",
    "load": "pte_magic.api.snapshots.load",
    "machine": "pte_magic.api.machine.processes",
    "page_cache": "pte_magic.api.page_cache",
    "shared": "pte_magic.api.shared",
    "snapshot": "pte_magic.api.snapshots.take_snapshot",
    "stream": "pte_magic.api.stream",
    "trim": "pte_magic.api.variables.trim",
    "variables": "pte_magic.api.variables.variables",
    "walk": "pte_magic.api.walk",
    "watch": "pte_magic.api.watch",
    "why": "pte_magic.api.why.why",
}
# Pickles that were made when these modules had other names load, too.
_RENAMED = {
    "pte_magic.difference": "pte_magic.api.pte_diff",
    "pte_magic.differences": "pte_magic.api.pte_diff",
    "pte_magic.frame": "pte_magic.api.pte_frame",
    "pte_magic.processes": "pte_magic.api.machine.processes",
}


if not TYPE_CHECKING:  # to a type checker it would say that every name exists

    def __getattr__(name: str) -> Any:
        if name in _PACKAGES:
            with importing():
                return importlib.import_module(f"{__name__}.{name}")
        if name not in _MODULES:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        found = globals()[name] = _found(_MODULES[name], name)
        return found


def _found(module: str, name: str) -> Any:
    if name.startswith("__"):  # asked by those who go through all modules
        message = f"module {module!r} is imported when something in it is needed"
        raise AttributeError(message)
    with importing():
        return getattr(importlib.import_module(module), name)


for _old, _new in _RENAMED.items():
    sys.modules[_old] = ModuleType(_old, f"The former name of {_new}.")
    vars(sys.modules[_old])["__getattr__"] = functools.partial(_found, _new)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to a shell; IPython calls this for ``%load_ext pte_magic``."""
    with importing():
        from pte_magic.notebook.extension import load  # noqa: PLC0415  (at the top, IPython would be needed for walk())

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove the magics and unload what was loaded into the kernel, for ``%unload_ext pte_magic``."""
    with importing():
        from pte_magic.notebook.extension import unload  # noqa: PLC0415  (at the top, IPython would be needed for walk())

    unload(shell)
