"""Checks of who asked for the memory: Python's arenas, numpy, and malloc, each with a switch for huge pages."""

from __future__ import annotations

import importlib
import platform
import sysconfig
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.api.why.facts import ANONYMOUS
from pte_magic.api.why.rows import Row
from pte_magic.errors import PteMagicError
from pte_magic.text.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.api.why.facts import Facts

_NUMPY_FROM = 1 << 22  # indicate_hugepages(), numpy/_core/src/multiarray/alloc.c
_TUNABLE = "glibc.malloc.hugetlb"
_WITH_MALLOC = f"GLIBC_TUNABLES={_TUNABLE}=1"
_ARENAS = "cpython:pymalloc"
"""The name that Python 3.15 gives to its arenas: ``_PyAnnotateMemoryMap()``, Objects/obmalloc.c."""


def rows(facts: Facts) -> Iterator[Row]:
    """Yield the results of the checks that concern the target."""
    asked = all("hg" in one.mapping.flags for one in facts.parts if one.kind == ANONYMOUS)
    if not any(one.kind == ANONYMOUS for one in facts.parts):
        return
    started = _environment(facts)
    if facts.is_own:
        yield from _arenas(facts, started, asked=asked)
        yield from _numpy(facts.value)
    yield from _malloc(started, asked=asked)


def _environment(facts: Facts) -> dict[str, str] | None:
    """Return the variables that the process was started with; None if they cannot be read."""
    try:
        pairs = facts.space.file("environ").decode(errors="backslashreplace").split("\0")
    except PteMagicError:
        return None
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _arenas(facts: Facts, started: dict[str, str] | None, *, asked: bool) -> Iterator[Row]:
    """Yield whether small objects are here: in a region with this name, or that of an object which is made now."""
    here = id(object())
    regions = [one.mapping.region for one in facts.parts if one.kind == ANONYMOUS]
    if not any(_ARENAS in region.name or region.start <= here < region.end for region in regions):
        return
    built = sysconfig.get_config_var("WITH_PYMALLOC_HUGEPAGES") or "--with-pymalloc-hugepages" in str(
        sysconfig.get_config_var("CONFIG_ARGS")
    )
    on = (started or {}).get("PYTHON_PYMALLOC_HUGEPAGES", "0") not in {"", "0"}
    found = "Python's small objects are here: it takes memory for them in arenas"
    if built:  # gh-144319, Python 3.15
        found += f" of 2 MiB, {'from the pool of hugetlb' if on else 'without PYTHON_PYMALLOC_HUGEPAGES'}"
        yield Row("Python", found, type_this="" if on else "PYTHON_PYMALLOC_HUGEPAGES=1 python …")
    else:
        found += " that are smaller than huge pages, or do not ask for these"
        yield Row("Python", found, type_this="" if asked else f"PYTHONMALLOC=malloc {_WITH_MALLOC} python …")


def _numpy(value: object) -> Iterator[Row]:
    kinds = value if isinstance(value, list) else [value]
    arrays = [one for one in kinds if type(one) is np.ndarray]
    if not arrays:
        return
    multiarray: Any = importlib.import_module("numpy._core.multiarray")
    ask = getattr(multiarray, "_get_madvise_hugepage", None)  # there is no public way to ask
    on = bool(ask()) if ask else None
    largest = max(one.nbytes for one in arrays)
    found = f"asks for huge pages for arrays from {size(_NUMPY_FROM)} on"
    found += {True: "", False: ", which is switched off", None: " unless it is switched off"}[on]
    if largest < _NUMPY_FROM:
        found += f"; this one has {size(largest)}"
    yield Row("numpy", found, type_this="NUMPY_MADVISE_HUGEPAGE=1 python …" if on is False else "")


def _malloc(started: dict[str, str] | None, *, asked: bool) -> Iterator[Row]:
    if started is None:
        yield Row("malloc", "the environment of the process is not readable", None)
        return
    if platform.libc_ver()[0] != "glibc":
        return
    # 1: madvise(2) for what it maps; 2: pages of hugetlb (glibc 2.35, manual, "Memory Allocation Tunables").
    tunables = dict(pair.partition("=")[::2] for pair in started.get("GLIBC_TUNABLES", "").split(":"))
    chosen = tunables.get(_TUNABLE, "0")
    what = {"0": "malloc does not ask for huge pages", "1": "malloc asks for huge pages"}
    found = f"{_TUNABLE} is {chosen}: {what.get(chosen, 'malloc takes pages of hugetlb')}"
    yield Row("malloc", found, type_this="" if asked or chosen != "0" else f"{_WITH_MALLOC} python …")
