"""Decoded entries of a walk, or without addresses, as plain DataFrames with the columns of a `PteFrame`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic import walkers
from pte_magic.api import decoded_columns
from pte_magic.dataframes import columns, pagemap_columns, row_kernels
from pte_magic.dataframes.pandas_compat import from_blocks
from pte_magic.formats import decode
from pte_magic.linux import hardware

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.formats.kernel import Kernel
    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.walkers.entries import Entries

_WALKERS: Any = pd.CategoricalDtype(list(walkers.NAMES))  # the same for all, so that concat keeps the dtype


def of_walk(  # noqa: PLR0913, PLR0917  (what goes into a frame)
    entries: Entries,
    kernel: Kernel,
    pid: int,
    host: str | None,
    hosts: tuple[str, ...],
    space: AddressSpace | None = None,
) -> pd.DataFrame:
    """Return the entries that a walker found, with all columns and `attrs`.

    Args:
        entries: The entries.
        kernel: The kernel that they come from.
        pid: Their process.
        host: Their host; this one if None.
        hosts: Hosts of other frames that will be joined with this one, so that all have one dtype.
        space: Their address space, to read the columns of `pagemap_columns` now; without it, the frame has only what
            the entries say.

    """
    host = host or hardware.host()
    hosts = hosts or (host,)
    n = len(entries)
    where = entries.where()
    found, kernel, source = decoded_columns.on_demand(entries, kernel)
    word = None if entries.protnone is None else entries.entry
    told = pagemap_columns.columns(space, where, found, word) if space else {}
    blocks: list[tuple[Any, NDArray[np.intp]]] = [(where, np.array([0, 1]))]
    places = columns.places(kernel)
    if source:
        found = {name: column for name, column in found.items() if name in columns.EAGER}
    blocks += [(array, places[name]) for name, array in columns.arrays(found, n, kernel, source).items()]
    for name, dtype, code in (
        ("host", _categories(hosts), hosts.index(host)),
        ("walker", _WALKERS, walkers.NAMES.index(entries.walker)),
    ):
        codes = np.full(n, code, np.min_scalar_type(-len(dtype.categories)))
        blocks.append((pd.Categorical.from_codes(codes, dtype=dtype, validate=False), places[name]))
    blocks.append((np.full((1, n), pid, np.int64), places["pid"]))
    blocks.append((row_kernels.column(kernel, n), places[row_kernels.COLUMN]))
    plain: pd.DataFrame = from_blocks(blocks, index=pd.RangeIndex(n), columns=columns.index(kernel))
    plain.attrs = row_kernels.attrs(kernel) | told
    if entries.protnone is not None:
        del plain.attrs["format"]
    return plain


def without_addresses(found: dict[str, decode.Column], level: NDArray[np.int8], kernel: Kernel) -> pd.DataFrame:
    """Return decoded entries that no walk found, with their `attrs`."""
    found = {**found, "level": decode.Column(level)}
    formats = row_kernels.column(kernel, len(level))
    plain = pd.DataFrame(columns.arrays(found, len(level), kernel) | {row_kernels.COLUMN: formats})
    plain.attrs = row_kernels.attrs(kernel)
    return plain


@functools.cache
def _categories(names: tuple[str, ...]) -> Any:
    return pd.CategoricalDtype(list(names))
