"""`FaultRows`: the ledger of faults as a DataFrame, one row per fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pte_magic.api.frame_base_class import OwnFrame

if TYPE_CHECKING:
    from collections.abc import Mapping


class FaultRows(OwnFrame):
    """Page faults in the order of their times, one row per fault; made by `SeenFaults.frame`.

    ================  ========  =================================================================================
    ``time``          int64     ns since the begin of the block
    ``line``          Int64     line of Python that ran; missing if none of the user's did
    ``address``       uint64    byte that was touched
    ``variable``      category  the variable that it belongs to; missing if to none
    ``index``         str       the element, as Python writes it
    ``kind``          category  the kind of the fault; without entries only ``minor`` or ``major``
    ``bytes``         uint64    bytes of the page that it brought; missing if entries are not read
    ``ns``            UInt64    how long it took; missing if the source does not measure it
    ``thread``        uint32    thread, by the kernel's number
    ``memory``        category  the variable, or else what memory it is, such as ``a temporary``
    ``entry_before``  UInt64    the raw entry before; missing if the source does not read entries
    ``entry_after``   UInt64    and after
    ``function``      category  the function that it is in
    ``file``          category  its file or cell
    ``library``       bool      the thread runs no Python: the line is the call that was under way
    ``major``         bool      it waited for a disk or the like
    ``user``          bool      touched by the program, not by the kernel in a system call
    ``counted``       bool      the kernel completed it, and counts it in ru_minflt or ru_majflt
    ``pid``           uint32    process
    ``source``        category  bpf or perf
    ================  ========  =================================================================================
    """

    __module__ = "pte_magic"

    _TYPES: ClassVar[Mapping[str, Any]] = {
        "time": np.dtype(np.int64),
        "line": pd.Int64Dtype(),
        "thread": np.dtype(np.uint32),
        "address": np.dtype(np.uint64),
        "pid": np.dtype(np.uint32),
        **dict.fromkeys(("entry_before", "entry_after", "bytes", "ns"), pd.UInt64Dtype()),
        **dict.fromkeys(("library", "major", "user", "counted"), np.dtype(np.bool_)),
    }
    _SAYS = frozenset({"address", "kind", "entry_before", "entry_after"})
    _WHOLE = frozenset({"time", "address", "kind"})
    _MADE_BY = "SeenFaults.frame()"
