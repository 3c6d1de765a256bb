"""Columns for `PteFrame.frames`: the kernel's data about page frames, and the region of each entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pandas.arrays import IntegerArray

from pte_magic.dataframes.lazy_arrays import lazy
from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.dataframes.runs import is_counted
from pte_magic.errors import AccessDeniedError, NoAddressSpaceError, NoSuchProcessError, TargetError
from pte_magic.formats.decode import Column
from pte_magic.linux import hardware, memory_cgroups, page_frames
from pte_magic.linux.address_space import AddressSpace
from pte_magic.linux.page_frames import Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.linux.regions import Region

FLAGS = (
    "referenced",
    "uptodate",
    "dirty",
    "lru",
    "active",
    "writeback",
    "mmap",
    "anon",
    "swapcache",
    "swapbacked",
    "compound_head",
    "compound_tail",
    "huge",
    "unevictable",
    "hwpoison",
    "nopage",
    "ksm",
    "thp",
    "zero_page",
    "idle",
    "pgtable",
)
"""Flags that become columns, named ``kpf_…``; ``page_flags`` has all: see `page_frames.FLAGS`."""

_WORD = "page_flags"
_NEEDED = ("vaddr", "size", "pfn", "host", "pid")


def join(frame: pd.DataFrame) -> Any:
    """Do what `PteFrame.frames` says; the result has the class of the frame."""
    _check(frame)
    pfn: Any = frame["pfn"].array
    known = ~np.asarray(pfn.isna())
    asked = pfn.to_numpy(np.uint64, na_value=0)[known]
    flags, map_count, cgroup, node = (_spread(told, known) for told in page_frames.everything(asked))
    source = _Flags(flags, tells_ksm=page_frames.tells_ksm())
    bits = {f"kpf_{name}": lazy(source, name, pd.BooleanDtype()) for name in FLAGS}
    return frame.assign(
        map_count=_integers(map_count, np.uint64),
        node=_integers(node, np.uint16),
        cgroup=_groups(cgroup),
        **_regions(frame),
        page_flags=lazy(source, _WORD, pd.UInt64Dtype()),
        **bits,
    )


def _check(frame: pd.DataFrame) -> None:
    absent = [name for name in _NEEDED if name not in frame.columns]
    if absent:
        message = f"frames() needs the columns {', '.join(_NEEDED)}, and this frame has no {', '.join(absent)}"
        message += "; call it on what pte_magic.walk() returned"
        raise TargetError(message)
    if is_counted(frame):
        message = (
            "this frame has one row per run, and frames() needs one row per entry; call it on the frame before .runs()"
        )
        raise TargetError(message)
    others = set(frame["host"].dropna().unique()) - {hardware.host()}
    if others:
        message = (
            f"these entries are of the host {min(others)!r}, and {hardware.host()!r} does not know its page frames"
        )
        message += "; call frames() there"
        raise TargetError(message)


def _spread(told: Told, known: NDArray[np.bool_]) -> Told:
    if known.all():
        return told
    values, missing = np.zeros(len(known), np.uint64), np.ones(len(known), np.bool_)
    values[known], missing[known] = told
    return Told(values, missing)


def _integers(told: Told, dtype: type[np.unsignedinteger[Any]]) -> IntegerArray:
    values, missing = told
    return IntegerArray(values.astype(dtype), missing)


class _Flags:
    """The flags of the page frame of each row, a source of lazy arrays: of the words, and of a column per flag."""

    def __init__(self, flags: Told, *, tells_ksm: bool) -> None:
        values, missing = flags
        self._values, self._missing = values.view(), missing.view()
        self._values.flags.writeable = self._missing.flags.writeable = False
        self._tells_ksm = tells_ksm

    def __len__(self) -> int:
        return len(self._values)

    def columns(self, *names: str) -> dict[str, Column]:
        """Return columns of flags, by the names in `FLAGS`."""
        return {name: self._column(name) for name in names}

    def _column(self, name: str) -> Column:
        missing = self._missing.copy()
        if name == _WORD:
            return Column(self._values, missing)
        if name == "ksm" and not self._tells_ksm:
            missing |= self._having("anon")
        return Column(self._having(name), missing)

    def _having(self, name: str) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self._values & np.uint64(1 << page_frames.FLAGS[name]) != 0
        return found

    def rows(self, rows: NDArray[np.intp]) -> _Flags:
        """Return the flags of some rows, by their numbers."""
        return self._part(rows)

    def slice(self, rows: slice) -> _Flags:
        """Return the flags of the rows of a slice."""
        return self._part(rows)

    def _part(self, rows: Any) -> _Flags:
        return _Flags(Told(self._values[rows], self._missing[rows]), tells_ksm=self._tells_ksm)

    def alike(self, ignored: Sequence[str] = ()) -> NDArray[np.bool_]:  # noqa: ARG002  (as for all sources)
        """Tell which rows but the first have the flags of the one before it, ``bool[n-1]``."""
        values, missing = self._values, self._missing
        same: NDArray[np.bool_] = (values[1:] == values[:-1]) & (missing[1:] == missing[:-1])
        return same

    def nbytes_of(self, name: str) -> int:
        """Return the bytes of memory that a column keeps here: all are those of the words."""
        return self._values.nbytes + self._missing.nbytes if name == _WORD else 0


def _groups(inodes: Told) -> pd.Categorical:
    """Return the paths of memory cgroups; the inode where a path cannot be found."""
    values, missing = inodes
    codes, found = pd.factorize(values[~missing], sort=True)
    at = np.full(len(values), -1)
    at[~missing] = codes
    paths = memory_cgroups.paths(found.tolist())
    return _named([paths.get(inode, f"inode {inode}") for inode in found.tolist()], at)


def _regions(frame: pd.DataFrame) -> dict[str, pd.Categorical]:
    first, pid = frame["vaddr"].to_numpy(), frame["pid"].to_numpy()
    last = first + (frame["size"].to_numpy() - np.uint64(1))
    regions: list[Region] = []
    at = np.full(len(frame), -1)
    for one in np.unique(pid[np.diff(pid, prepend=-1) != 0]):  # few, and mostly in a row
        rows, those = pid == one, _regions_of(int(one))
        within = _only(those, first[rows], last[rows])
        at[rows] = np.where(within < 0, -1, within + len(regions))
        regions += those
    return {
        "region": _named([region.name for region in regions], at),
        "permissions": _named([region.permissions for region in regions], at),
    }


def regions(frame: pd.DataFrame) -> list[Region]:
    """Return the regions of the process that a frame is of, as they are now; none if it is not one of this host."""
    if not len(frame) or not {"host", "pid"} <= set(frame.columns):
        return []
    is_one = (frame["pid"] == frame["pid"].iloc[0]).all() and (frame["host"] == hardware.host()).all()
    return _regions_of(int(frame["pid"].iloc[0])) if is_one else []


def _regions_of(pid: int) -> list[Region]:
    try:
        with AddressSpace(pid) as space:
            return space.regions()
    except (NoSuchProcessError, AccessDeniedError, NoAddressSpaceError):
        return []


def _only(regions: Sequence[Region], first: NDArray[np.uint64], last: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the region that has addresses of ``first`` to ``last``, ``int64[n]``; -1 for none or several."""
    end = np.array([region.end - 1 for region in regions], np.uint64)
    start = np.array([region.start for region in regions], np.uint64)
    begin = _places(end, first, "left")  # the first region that does not end before
    after = _places(start, last, "right")  # the first region that begins later
    return np.where(after - begin == 1, begin, -1)


def _places(
    edges: NDArray[np.uint64], addresses: NDArray[np.uint64], side: Literal["left", "right"]
) -> NDArray[np.int64]:
    """Return what `numpy.searchsorted` does; mostly addresses ascend, and are far more than edges."""
    if (addresses[1:] < addresses[:-1]).any():
        return np.searchsorted(edges, addresses, side=side)
    at = np.searchsorted(addresses, edges, side="right" if side == "left" else "left")
    return np.repeat(np.arange(len(edges) + 1), np.diff(at, prepend=0, append=len(addresses)))


def _named(names: Sequence[str], at: NDArray[np.int64]) -> pd.Categorical:
    """Return ``names[at]``, missing where it is negative; categories are the names that occur."""
    code: dict[str, int] = {}
    codes = np.full(len(names) + 1, -1, np.int32)
    for one in np.flatnonzero(np.bincount(at[at >= 0])).tolist():
        codes[one] = code.setdefault(names[one], len(code))
    dtype: pd.CategoricalDtype[Any] = pd.CategoricalDtype(pd.Index(list(code), dtype=TEXT))  # text, also if none occurs
    return pd.Categorical.from_codes(codes[at], dtype=dtype, validate=False)
