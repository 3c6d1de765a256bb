"""Whose memory the resident memory is: against smaps, smaps_rollup, mincore, malloc's own words, and what was done."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import forked, python
from handmade import (
    DONTNEED,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PTES,
    NewMap,
    hugetlb,
    madvise,
    read,
    resident,
    smaps,
    write,
)
from interrupting import AT_ANY_MOMENT

import pte_magic
from pte_magic import TargetError, Variables, variables
from pte_magic.api.variables.pages import STATES, Pages
from pte_magic.linux import malloc
from pte_magic.linux.address_space import own
from pte_magic.targets import small_objects

MIB = 1 << 20
NUMBERS = ("bytes", *STATES[:-1], "frees", "also")


def smaps_sums() -> dict[str, int]:
    """Return the sums of all regions."""
    told: dict[str, int] = {}
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            told[name] = told.get(name, 0) + (int(value.split()[0]) << 10)
    return told


def row(found: pd.DataFrame, name: str, column: str = "name") -> Any:
    rows = found[found[column] == name]
    assert len(rows) == 1, found.to_string()
    return rows.iloc[0]


def of_type(found: pd.DataFrame, name: str) -> int:
    return int(found.loc[found["type"] == name, "resident"].sum())


def array_at(address: int, size: int) -> Any:
    """Return an array of bytes that somebody else mapped."""
    return np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))


def test_rows_add_up_to_the_kernel_s_resident_size() -> None:
    namespace = {"a": np.ones(10**6), "text": "x" * 10**6, "some": [np.ones(at) for at in range(100)]}
    before = smaps_sums()["Rss"]
    found = variables(namespace)
    after = smaps_sums()["Rss"]
    total = int(found["resident"].sum())
    assert min(before, after) - 8 * MIB <= total <= max(before, after) + 8 * MIB  # the look itself needs memory
    assert abs(total - found.attrs["rss"]) <= 4 * MIB
    assert {str(found[name].dtype) for name in NUMBERS} == {"uint64"}
    assert isinstance(found, Variables)
    assert (found["resident"] + found["swapped"] <= found["bytes"]).all(), found.to_string()
    for name in ("huge", "shared", "frees", "also"):
        assert (found[name] <= found["resident"]).all(), found.to_string()
    assert found["name"].tolist()[:3] == ["a", "text", "some"]


def test_pages_are_those_of_smaps() -> None:
    pages = Pages(own(), own().regions())
    sums = pages.sums(np.zeros(1, np.uint64), np.full(1, 1 << 56, np.uint64))
    told = smaps_sums()
    assert abs(int(sums["resident"][0]) - told["Rss"]) <= 4 * MIB  # the two looks need memory themselves
    assert int(sums["swapped"][0]) <= told["Swap"] + 4 * MIB


def test_sums_of_pages_are_those_of_each_page(new_map: NewMap) -> None:
    size = 64 * PAGE
    address = new_map(size, advice=NOHUGEPAGE)
    write(address + 3 * PAGE, 20 * PAGE)
    write(address + 40 * PAGE, 9 * PAGE)
    read(address + 60 * PAGE)  # the page of zeros, which the kernel does not count
    there = [at in range(3, 23) or at in range(40, 49) for at in range(64)]
    pages = Pages(own(), own().regions())
    random = np.random.default_rng(5)
    edges = np.sort(random.integers(0, size, (200, 2)), axis=1)
    found = pages.sums(
        edges[:, 0].astype(np.uint64) + np.uint64(address), edges[:, 1].astype(np.uint64) + np.uint64(address)
    )
    every = np.repeat(np.array(there), PAGE)
    assert found["resident"].tolist() == [int(every[start:end].sum()) for start, end in edges]
    assert [resident(address + at * PAGE) for at in range(50)] == there[:50]


def test_an_array_is_as_resident_as_its_pages(new_map: NewMap) -> None:
    address = new_map(64 * PAGE, advice=NOHUGEPAGE)
    write(address, 10 * PAGE)
    namespace = {"half": array_at(address, 64 * PAGE)}
    found = row(variables(namespace), "half")
    assert found["bytes"] - 64 * PAGE < 1000
    assert 0 <= found["resident"] - 10 * PAGE < 1000  # with the object itself
    madvise(address, 4 * PAGE, DONTNEED)
    assert 0 <= row(variables(namespace), "half")["resident"] - 6 * PAGE < 1000


def test_pages_that_a_child_maps_are_shared(new_map: NewMap) -> None:
    address = new_map(64 * PAGE)
    write(address, 64 * PAGE)
    namespace = {"a": array_at(address, 64 * PAGE)}
    assert row(variables(namespace), "a")["shared"] < PAGE
    with forked(lambda: write(address, 8 * PAGE)) as child:
        assert 64 * PAGE <= row(variables(namespace), "a")["shared"] < 65 * PAGE
        child.step()
        assert 56 * PAGE <= row(variables(namespace), "a")["shared"] < 57 * PAGE
        theirs = variables(namespace, pid=child.pid)
        assert 64 * PAGE <= row(theirs, "a")["resident"] < 65 * PAGE
        assert abs(int(theirs["resident"].sum()) - theirs.attrs["rss"]) <= 4 * MIB
        assert f"in the child {child.pid}, by this process' names" in repr(theirs)


@pytest.mark.parametrize(("first", "pages"), [(0, 1), (1, PTES - 1), (5, 7)])
def test_huge_pages_that_a_child_maps_in_part_are_shared_in_part(first: int, pages: int, new_map: NewMap) -> None:
    size = 2 * HUGE
    address = new_map(size, advice=HUGEPAGE)
    write(address, size)
    if smaps(address, "AnonHugePages") != size:
        pytest.skip("there are no huge pages left")
    namespace = {"a": array_at(address, size)}
    with forked(lambda: madvise(address + first * PAGE, pages * PAGE, DONTNEED)) as child:
        child.step()
        expected = size - pages * PAGE
        assert smaps(address, "Shared_Dirty") == expected
        mine = row(variables(namespace), "a")
        assert 0 <= mine["shared"] - expected < PAGE  # with the object itself
        assert 0 <= mine["huge"] - size < PAGE
        assert mine["shared"] <= mine["resident"]


def test_a_process_that_was_not_forked_has_names_of_its_own() -> None:
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as other:
        assert other.stdout
        other.stdout.readline()
        for pid in (other.pid, 1):
            with pytest.raises(pte_magic.PteMagicError) as told:
                variables({}, pid=pid)
            assert "\n" not in str(told.value)
        with pytest.raises(TargetError, match=rf"names are not known; type %pte {other.pid} for its memory by region"):
            variables({}, pid=other.pid)
        other.kill()
    with pytest.raises(pte_magic.NoSuchProcessError):
        variables({}, pid=other.pid)


def test_hugetlb_is_named_and_not_in_the_sum(new_map: NewMap) -> None:
    try:
        address = new_map(HUGE, flags=0x22 | hugetlb())
        write(address, HUGE)
    except OSError:
        pytest.skip("no pages of hugetlb are reserved")
    found = variables({"a": array_at(address, HUGE)})
    assert row(found, "a")["resident"] < PAGE
    assert "on pages of hugetlb" in row(found, "a")["remark"]
    assert abs(int(found["resident"].sum()) - found.attrs["rss"]) <= 4 * MIB


def test_a_small_view_and_the_same_object_are_remarked() -> None:
    a = np.ones(10**5)
    found = variables(
        {"view": np.ones(10**6)[:10], "a": a, "b": a, "c": a[5:], "some": [np.ones(10**6)[:1] for _ in range(3)]}
    )
    assert row(found, "view")["remark"] == "a view of 80 B keeps 7.629 MiB; keep a copy instead"
    assert row(found, "some")["remark"] == "3 views of 24 B keep 22.89 MiB; keep a copy instead"
    assert row(found, "b")["remark"] == "the same object as a"
    assert row(found, "c")["says"] == "float64 [99995], a view of a"
    assert row(found, "a")["also"] >= a.nbytes
    assert row(found, "a")["frees"] == 0


def test_what_objects_say_of_themselves() -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": [3, 4]})
    things = {"f": frame, "s": frame["x"], "l": [1], "d": {1: 2, 3: 4}, "t": "abc", "a": np.ones((2, 3), np.int8)}
    found = variables(things)
    said = dict(zip(found["name"], found["says"], strict=True))
    assert {name: said[name] for name in things} == {
        "f": "2 rows x 2 columns", "s": "2 rows", "l": "1 item", "d": "2 keys", "t": "3 letters", "a": "int8 [2, 3]",
    }  # fmt: skip


def test_arrow_s_slices_keep_whole_buffers_and_share_them() -> None:
    numbers = np.arange(10**6)
    table = pa.table({"x": pa.array(numbers.copy())})
    found = variables({"slice": table.slice(5, 10), "numbers": numbers, "view": pa.array(numbers)})
    assert row(found, "slice")["bytes"] >= numbers.nbytes
    assert row(found, "view")["bytes"] < PAGE
    assert row(found, "numbers")["also"] >= numbers.nbytes // 2  # of its resident bytes
    assert row(found, "numbers")["frees"] == 0


def test_pools_of_small_objects_are_as_many_blocks_as_python_says() -> None:
    made = [str(at) * 3 for at in range(10**5)]
    anonymous = [one for one in own().regions() if one.is_anonymous and not one.path and one.permissions == "rw-p"]
    step = small_objects.POOL
    found = small_objects.pools(
        np.arange(-(-one.start // step) * step, one.end - step + 1, step, dtype=np.uint64) for one in anonymous
    )
    assert sys.getallocatedblocks() * 16 <= int(found.used.sum())
    starts, ends = small_objects.arenas(found)
    places = np.fromiter(map(id, made), np.uint64)
    inside = np.searchsorted(starts, places, side="right") - 1
    assert (inside >= 0).all()
    assert (places < ends[inside]).all()
    of_python = of_type(variables({}), "Python's small objects")
    assert of_python >= sum(map(sys.getsizeof, made))
    assert (
        of_python - of_type(variables({"made": made}), "Python's small objects") >= sum(map(sys.getsizeof, made)) * 0.9
    )


def test_freed_memory_of_malloc_is_found_and_trimmed() -> None:
    """In a process of its own, where nobody else uses malloc meanwhile."""
    told = python(
        """
import ctypes, pte_magic
pte_magic.variables({})
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def free():
    found = pte_magic.variables({})
    return int(found.loc[found["type"] == "malloc, free but resident", "resident"].sum())
begin = free()
blocks = [libc.malloc(60_000) for _ in range(2000)]
for block in blocks:
    ctypes.memset(block, 1, 60_000)
last = libc.malloc(60_000)  # or free() would give the end of the heap back
held = free()
for block in blocks:
    libc.free(block)
freed = free()
text = repr(pte_magic.variables({}))
trimmed = pte_magic.trim()
print(begin, held, freed, free(), trimmed.given_back, "pte_magic.trim() gives it back" in text, repr(trimmed))
"""
    ).split(maxsplit=6)
    begin, held, freed, after, given = map(int, told[:5])
    assert held <= begin + 8 * MIB
    assert freed >= 110 * MIB
    assert after <= begin + 8 * MIB
    assert given >= 110 * MIB
    assert told[5] == "True"
    assert "given back: " in told[6]


def test_malloc_s_words_are_those_of_malloc_info(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    path = tmp_path / "info"
    stream = ctypes.c_void_p(libc.fopen(os.fsencode(path), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    found = malloc.info()
    assert found is not None
    last = path.read_text(encoding="utf-8").rpartition("</heap>")[2]  # the sums of all arenas
    sizes = {
        line.split('"')[1]: int(line.split('"')[-2])
        for line in last.splitlines()
        if line.startswith(("<total", "<system"))
    }
    assert abs(found.used + found.free - sizes["current"]) <= MIB
    assert abs(found.mapped - sizes["mmap"]) <= MIB


def test_stacks_of_threads_are_found() -> None:
    ended, ready = threading.Event(), threading.Barrier(5)

    def wait() -> None:
        buffer = (ctypes.c_char * PAGE)()
        ready.wait()
        ended.wait()
        del buffer

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    try:
        found = variables({})
        stacks = {thread.ident: thread for thread in threads}
        assert of_type(found, "stacks of threads") >= len(stacks) * 2 * PAGE
        assert int(row(found, "stacks of threads", "type")["bytes"]) >= len(stacks) * 1 * MIB
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_page_tables_are_not_in_the_sum() -> None:
    found = row(variables({}), "page tables", "type")
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    told = int(next(line for line in status.splitlines() if line.startswith("VmPTE:")).split()[1]) << 10
    assert abs(int(found["bytes"]) - told) <= 64 * PAGE
    assert found["resident"] == 0


def test_the_last_error_holds_the_variables_of_its_frames() -> None:
    told = python(
        """
import sys, numpy as np, pte_magic
def fails():
    local = np.ones(10**6)
    raise ValueError(local.shape)
try:
    fails()
except ValueError as error:
    sys.last_value = error
found = pte_magic.variables()
one = found[found["name"] == "sys.last_value"].iloc[0]
print(one["resident"] > 8 * 10**6, one["remark"])
"""
    )
    assert told == "True type import sys; sys.last_exc = sys.last_value = sys.last_traceback = None"


def test_names_that_no_file_takes_are_escaped() -> None:
    array = np.ones(1 << 18)
    made = type("T\x1b", (), {"__slots__": ("held",)})()
    made.held = array
    found = variables({"a\ud800": array, "\x1b": array, "record": np.ones(1, [("\ud800", "u1")]), "made": made})
    assert r"a\ud800" in set(found["name"])
    assert r"T\x1b" in set(found["type"])
    for column in ("name", "type", "says", "remark"):
        assert all(text.isprintable() for text in found[column]), column
    assert repr(found).encode()


@pytest.mark.parametrize("namespace", [5, "x", [1], np.ones(3), type])
def test_what_is_not_a_namespace_is_said_in_one_line(namespace: Any) -> None:
    with pytest.raises(TargetError, match=r"is not a dictionary of names; type vars\(x\) for the attributes of x$"):
        variables(namespace)


def test_an_ordinary_user_sees_the_same() -> None:
    code = """
import numpy as np, pte_magic
a = np.ones(10**6)
found = pte_magic.variables()
print(found["name"].iloc[0], abs(int(found["resident"].sum()) - found.attrs["rss"]) < 1 << 22)
"""
    assert python(code, user=65534) == "a True"


def test_an_interrupt_leaves_nothing() -> None:
    code = f"""{AT_ANY_MOMENT}
import gc, weakref
class Thing: pass
things = [Thing() for _ in range(50)]
namespace = {{"things": things, "more": [bytes(at) for at in range(50)]}}
pte_magic.variables(namespace)
before, known = descriptors(), [sys.getrefcount(one) for one in things]
number, wrong = 1, []
while interrupted(lambda: pte_magic.variables(namespace), number, ("pte_magic/targets", "pte_magic/api/variables")):
    now = [sys.getrefcount(one) for one in things]
    if descriptors() != before or now != known:
        wrong.append(number)
    number += 1 + number // 12
print(number > 300, wrong)
"""
    assert python(code) == "True []"


def test_storm_of_memory_that_appears_and_vanishes() -> None:
    namespace: dict[str, Any] = {"stays": np.ones(10**6)}
    ended = threading.Event()

    def change() -> None:
        at = 0
        while not ended.is_set():
            at += 1
            namespace[f"v{at % 9}"] = [np.ones(at * 997 % 10**5), str(at) * 99]
            namespace.pop(f"v{at * 5 % 9}", None)

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            found = variables(namespace)
            assert abs(int(found["resident"].sum()) - found.attrs["rss"]) <= 16 * MIB
            assert row(found, "stays")["resident"] >= 8 * 10**6
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@functools.cache
def shown() -> Variables:
    names = {f"name{at}": [at] * at for at in range(200)} | {"a very long name of a variable": bytes(10**6), "mod": os}
    return variables(names)


@pytest.mark.parametrize("columns", [40, 60, 80, 160])
def test_text_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = repr(shown()).splitlines()
    assert max(map(len, lines)) <= columns, max(lines, key=len)
    head = next(line for line in lines if line.startswith("name "))
    assert head.split()[:3] == ["name", "type", "resident"]
    assert ("frees" in head, "huge" in head) == (columns > 40, columns > 40)
    assert any(line.startswith("no room here for ") and "frees" in line for line in lines) == (columns == 40)
    (name,) = (line for line in lines if line.startswith("a v"))
    assert ("…" in name[:30]) == (columns < 160)
    assert any("more names" in line for line in lines)
    assert lines[0].startswith("202 names: ")
    assert any(line.startswith("total: ") for line in lines)
    assert "; the kernel counts " in " ".join(map(str.strip, lines))


def test_selections_are_frames_still() -> None:
    found = shown()
    assert "total" not in repr(found[found["name"] == "name7"])
    assert repr(found[["name", "resident"]].head(3))
    assert "<table" in str(found._repr_html_())
    assert found.head(2).to_dict("records")[0]["name"] == "a very long name of a variable"
