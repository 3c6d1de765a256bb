"""The columns of decoded entries of a walk, as arrays and as Python's values; no pandas is needed for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pte_magic.dataframes import column_names
from pte_magic.formats import decode, pagemap_words
from pte_magic.formats import kernel as kernels
from pte_magic.formats.decode import Column
from pte_magic.formats.decoding_plan import CACHES
from pte_magic.formats.field import KINDS, STATES
from pte_magic.formats.undecoded import Decoding, Undecoded
from pte_magic.linux import hardware
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pte_magic.formats.kernel import Kernel
    from pte_magic.walkers.entries import Entries

_CATEGORIES = {"level": LEVELS, "state": STATES, "kind": KINDS, "cache": CACHES}


def of_walk(entries: Entries, kernel: Kernel) -> tuple[dict[str, Column], Kernel]:
    """Return the decoded columns of entries that a walker found, also their levels; and the kernel that they are of.

    Args:
        entries: The entries.
        kernel: The kernel of this host.

    """
    level, kernel = entries.level, _kernel_of(entries, kernel)
    if entries.protnone is not None:
        found = pagemap_words.columns(entries.entry, entries.protnone, kernel)
    else:
        found = decode.columns(entries.entry, level, kernel)
    found["level"] = Column(level)
    return found, kernel


def on_demand(entries: Entries, kernel: Kernel) -> tuple[dict[str, Column], Kernel, Undecoded | None]:
    """Return the same, and what to decode further columns from, if these are raw entries.

    Of raw entries, columns are decoded when they are looked for by ``in``.
    """
    if entries.protnone is not None:
        return *of_walk(entries, kernel), None
    level, kernel = entries.level, _kernel_of(entries, kernel)
    source = Undecoded(entries.entry, level, kernel)
    found = Decoding(source)
    found.look_for("state", "kind", "cache")
    found["level"] = Column(level)
    return found, kernel, source


def _kernel_of(entries: Entries, kernel: Kernel) -> Kernel:
    if entries.protnone is None and entries.encoding != kernel.format.name:
        kernel = kernels.reading(entries.encoding, entries.address_bits)
    return kernel.also(entries.address_bits)


def values(entries: Entries, found: Mapping[str, Column], kernel: Kernel, pid: int) -> dict[str, list[Any]]:
    """Return all columns of a `PteFrame` of entries of this host, in its order; a missing value is None.

    Args:
        entries: The entries.
        found: Their columns, of `of_walk`.
        kernel: The kernel that they are of, likewise.
        pid: Their process.

    """
    n = len(entries)
    known: dict[str, list[Any]] = {"vaddr": entries.vaddr.tolist(), "size": entries.size.tolist()}
    known |= {name: _values(name, column) for name, column in found.items()}
    origin = {"host": hardware.host(), "pid": pid, "walker": entries.walker, column_names.FORMAT: kernel.told}
    known |= {name: [value] * n for name, value in origin.items()}
    return {name: known.get(name, [None] * n) for name in column_names.of_walk(kernel)}


def _values(name: str, column: Column) -> list[Any]:
    found: list[Any] = column.values.tolist()
    if name in _CATEGORIES:
        found = [_CATEGORIES[name][code] if code >= 0 else None for code in found]
    if column.missing is None:
        return found
    return [None if missing else value for value, missing in zip(found, column.missing.tolist(), strict=True)]
