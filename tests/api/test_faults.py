"""`faults()`: the page faults of blocks that touch known pages, by line, variable and kind, and their totals."""

from __future__ import annotations

import asyncio
import mmap
import os
import resource
import sys
import threading
import weakref
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from handmade import ANONYMOUS, NOHUGEPAGE, PAGE, PRIVATE, READ, SHARED, WRITE, madvise

import pte_magic
from pte_magic import PteMagicError, ResourceError, SeenFaults, SourceUnavailableError, TargetError
from pte_magic.events import fault_sources, lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import pandas as pd
    from handmade import NewMap
    from numpy.typing import NDArray

PAGES = 48
ALL = ("bpf", "perf", "rusage")


def works(source: str) -> bool:
    try:
        fault_sources.open_source(source).close()
    except (SourceUnavailableError, TargetError):
        return False
    return True


def with_source(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.skipif(not works(name), reason=f"the source {name} cannot work here"))


SOURCES = [with_source(name) for name in ALL]
RECORDING = [with_source(name) for name in ALL[:2]]
READING = [with_source("bpf")]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208  (names only)
    yield
    assert lines._shared._hook is None
    assert sys.gettrace() is None
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  (as above)


def pages(new_map: NewMap, count: int = PAGES, **more: Any) -> NDArray[np.uint8]:
    """Return new memory in small pages, of which none is there."""
    address = new_map(count * PAGE, advice=NOHUGEPAGE, **more)
    return array_at(address, count)


def array_at(address: int, count: int) -> NDArray[np.uint8]:
    class At:
        __array_interface__ = {"data": (address, False), "shape": (count * PAGE,), "typestr": "|u1", "version": 3}  # noqa: RUF012

    return np.asarray(At())


def of_line(seen: SeenFaults, number: int) -> int:
    found = seen.by_line()
    rows = (found["file"] == __file__) & (found["line"] == number)
    return int(found.loc[rows, "faults"].sum())


def of_variable(seen: SeenFaults, name: str) -> pd.DataFrame:
    found = seen.frame()
    return found[found["variable"] == name]


def warm(source: str) -> None:
    """Run what is run later: code and memory of the package have faults of their own at first."""
    with pte_magic.faults(source=source) as seen:
        pass
    seen.frame()


@pytest.mark.parametrize("source", SOURCES)
def test_each_line_has_its_faults(new_map: NewMap, source: str) -> None:
    a = pages(new_map, 2 * PAGES)
    warm(source)
    with pte_magic.faults(source=source) as seen:
        a[: PAGES * PAGE : PAGE] = 1
        a[:: 2 * PAGE] = 2
        a[: PAGES * PAGE : PAGE] = 3
    here = sys._getframe().f_lineno
    assert of_line(seen, here - 3) >= PAGES
    assert PAGES // 2 <= of_line(seen, here - 2) <= PAGES // 2 + 2
    assert of_line(seen, here - 1) <= 2
    assert seen.source == source
    assert seen.lost == 0
    assert f"by line {here - 3}" in str(seen)


@pytest.mark.parametrize("source", RECORDING)
def test_rows_are_as_many_as_the_kernel_counts(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    warm(source)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with pte_magic.faults(source=source) as seen:
        a[::PAGE] = 1
        b = np.ones(100_000)
    after = resource.getrusage(resource.RUSAGE_SELF)
    found = seen.frame()
    counted = after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt
    assert len(of_variable(seen, "a")) == PAGES
    assert len(found) <= counted
    assert int(found["counted"].sum()) == seen._done().seen.minor + seen._done().seen.major
    assert seen.by_line()["faults"].sum() == seen.by_variable()["faults"].sum() == len(found)
    assert (found["source"] == source).all()
    assert b.sum() == 100_000


@pytest.mark.parametrize("source", RECORDING)
def test_a_row_has_the_address_the_element_and_the_thread(new_map: NewMap, source: str) -> None:
    matrix = pages(new_map).reshape(PAGES, PAGE).view(np.float64)
    warm(source)
    with pte_magic.faults(source=source) as seen:
        matrix[5, 3] = 1
        matrix[7, 511] = 1
    found = seen.frame()
    found = found[found["variable"] == "matrix"]
    base = matrix.ctypes.data
    assert found["address"].tolist() == [base + 5 * PAGE + 3 * 8, base + 7 * PAGE + 511 * 8]
    assert found["index"].tolist() == ["[5, 3]", "[7, 511]"]
    assert found["thread"].tolist() == [threading.get_native_id()] * 2
    assert found["line"].tolist() == [sys._getframe().f_lineno - 8, sys._getframe().f_lineno - 7]
    assert found["function"].tolist() == ["test_a_row_has_the_address_the_element_and_the_thread"] * 2
    assert found["time"].is_monotonic_increasing
    assert found["user"].all()


@pytest.mark.parametrize("source", READING)
def test_kinds_and_entries(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    shared = array_at(new_map(PAGES * PAGE, READ | WRITE, SHARED | ANONYMOUS), PAGES)
    warm(source)
    with pte_magic.faults(source=source) as seen:
        a[: 8 * PAGE : PAGE].sum()
        a[:: 2 * PAGE] = 1
        shared[::PAGE] = 1
    found = of_variable(seen, "a")
    counts = found["kind"].value_counts()
    assert counts["first touch: page of zeros"] == 8
    assert counts["copy-on-write of the page of zeros"] == 4
    assert counts["first touch: fresh page"] == PAGES // 2 - 4
    assert int(found["bytes"].sum()) == PAGES // 2 * PAGE
    assert set(of_variable(seen, "shared")["kind"]) == {"page of shared memory"}
    fresh = found[found["kind"] == "first touch: fresh page"]
    assert (fresh["entry_before"] == 0).all()
    entries = pte_magic.entries(a)
    touched = {int(v): int(e) for v, e in zip(entries.vaddr, entries.entry, strict=True)}
    flags = 0xFFF | 1 << 63  # of an entry; accessed and dirty may come later
    for row in fresh.to_dict("records"):
        now = touched[int(row["address"]) // PAGE * PAGE]
        assert int(row["entry_after"]) & ~flags == now & ~flags
    assert (found["ns"] > 0).all()


@pytest.mark.parametrize("source", READING)
def test_a_temporary_is_not_the_variable_that_gets_its_addresses(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    warm(source)
    with pte_magic.faults(source=source) as seen:
        a[::PAGE] = 1
        madvise(a.ctypes.data, PAGES * PAGE, 4)  # as if it was unmapped, and mapped again for another
        a[: 8 * PAGE : PAGE] = 2
    here = sys._getframe().f_lineno
    found = seen.frame()
    mine = found[(found["address"] >= a.ctypes.data) & (found["address"] < a.ctypes.data + a.nbytes)]
    last = mine[mine["line"] == here - 1]
    assert last["variable"].tolist() == ["a"] * 8
    first = mine[mine["line"] == here - 3]
    assert len(first) == PAGES
    names = {"a"} if sys.version_info >= (3, 13) else {"a", "a temporary"}  # of a function, see names_before()
    assert set(first["memory"].iloc[:8]) <= names


@pytest.mark.parametrize("source", READING)
def test_new_memory_at_the_addresses_of_a_temporary_is_told_apart(new_map: NewMap, source: str) -> None:
    where = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    warm(source)
    with pte_magic.faults(source=source) as seen:
        array_at(where, PAGES)[::PAGE] = 1
        madvise(where, PAGES * PAGE, 4)
        new = array_at(where, PAGES)
        new[::PAGE] = 2
    here = sys._getframe().f_lineno
    found = seen.frame()
    found = found[(found["address"] >= where) & (found["address"] < where + PAGES * PAGE)]
    assert found.loc[found["line"] == here - 4, "memory"].tolist() == ["a temporary"] * PAGES
    assert found.loc[found["line"] == here - 1, "memory"].tolist() == ["new"] * PAGES


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a function's variables before a block are seen from 3.13 on")
@pytest.mark.parametrize("source", RECORDING)
def test_the_variable_before_the_block_is_named_if_it_is_gone_after(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    warm(source)
    with pte_magic.faults(source=source) as seen:
        a[::PAGE] = 1
        del a
    assert int((seen.frame()["variable"] == "a").sum()) == PAGES


@pytest.mark.parametrize("source", RECORDING)
def test_targets_narrow_it(new_map: NewMap, source: str) -> None:
    a, b = pages(new_map), pages(new_map)
    warm(source)
    with pte_magic.faults(a, source=source) as seen:
        a[::PAGE] = 1
        b[::PAGE] = 1
    assert len(seen.frame()) == PAGES
    assert seen.by_variable()["variable"].tolist() == ["a"]
    with pte_magic.faults(b, source=source) as seen:
        a[::PAGE] = 1
    assert len(seen.frame()) == 0
    assert str(seen).startswith("0 page faults in ")


@pytest.mark.parametrize("source", RECORDING)
def test_threads_of_python_and_the_kernel_have_their_lines(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    tids = []

    def work() -> None:
        tids.append(threading.get_native_id())
        a[: PAGES // 2 * PAGE : PAGE] = 1

    warm(source)
    reader, writer = os.pipe()
    os.write(writer, b"x" * PAGE)
    with pte_magic.faults(source=source) as seen:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        os.readv(reader, [a[(PAGES - 1) * PAGE :].data])
    os.close(reader)
    os.close(writer)
    found = of_variable(seen, "a")
    by_thread = found[found["thread"] == tids[0]]
    assert len(by_thread) == PAGES // 2
    assert set(by_thread["function"]) == {"work"}
    in_kernel = found[found["thread"] != tids[0]]
    assert in_kernel["line"].tolist() == [sys._getframe().f_lineno - 8]
    assert in_kernel["address"].tolist() == [a.ctypes.data + (PAGES - 1) * PAGE]


@pytest.mark.parametrize("source", SOURCES)
def test_a_block_that_raises_is_seen_until_then(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    warm(source)
    with pytest.raises(ZeroDivisionError), pte_magic.faults(source=source) as seen:
        a[::PAGE] = 1 // (a.nbytes - PAGES * PAGE)
    assert of_line(seen, sys._getframe().f_lineno - 1) <= 8
    with suppress(KeyError), pte_magic.faults(source=source) as seen:
        a[::PAGE] = 1
        raise KeyError
    assert of_line(seen, sys._getframe().f_lineno - 2) >= PAGES


def test_a_function_is_seen_at_each_call(new_map: NewMap) -> None:
    a = pages(new_map)

    @pte_magic.faults(source="rusage")
    def touch(first: int) -> int:
        a[first * PAGE :: 2 * PAGE] = 1
        return first

    assert touch(0) == 0
    line = touch.__wrapped__.__code__.co_firstlineno + 2  # type: ignore[attr-defined]  # functools.wraps gives it
    assert of_line(touch.seen, line) >= PAGES // 2  # type: ignore[attr-defined]  # as the docstring says
    touch(0)
    assert of_line(touch.seen, line) <= 2  # type: ignore[attr-defined]  # as above

    @pte_magic.faults(source="rusage")
    async def later() -> int:
        await asyncio.sleep(0)
        a[PAGE :: 2 * PAGE] = 1
        return 7

    assert asyncio.run(later()) == 7
    seen: Any = later
    assert int(seen.seen.by_line()["faults"].sum()) >= PAGES // 2


@pytest.mark.parametrize("source", SOURCES)
def test_two_at_once_see_what_happens_in_their_time(new_map: NewMap, source: str) -> None:
    a, b = pages(new_map), pages(new_map)
    warm(source)
    with pte_magic.faults(source=source) as outer:
        a[::PAGE] = 1
        with pte_magic.faults(source="rusage") as inner:
            b[::PAGE] = 1
    here = sys._getframe().f_lineno
    assert of_line(outer, here - 3) >= PAGES
    assert of_line(outer, here - 1) >= PAGES
    assert of_line(inner, here - 1) >= PAGES
    assert of_line(inner, here - 3) == 0


@pytest.mark.parametrize("source", RECORDING)
def test_without_lines_there_are_times_and_addresses(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    with pte_magic.faults(source=source, lines=False) as seen:
        assert sys.gettrace() is None
        a[::PAGE] = 1
    found = of_variable(seen, "a")
    assert len(found) == PAGES
    assert found["line"].isna().all()
    assert "by line" not in str(seen).splitlines()[0]


@pytest.mark.parametrize("source", RECORDING)
def test_faults_beyond_the_most_are_counted_as_lost(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    warm(source)
    with pte_magic.faults(source=source, most=10) as seen:
        a[::PAGE] = 1
    found = seen._done().seen
    assert len(seen.frame()) == 10
    assert seen.lost == found.minor + found.major - int(seen.frame()["counted"].sum())
    assert f"{seen.lost} more faults were lost" in str(seen)


@pytest.mark.skipif(hasattr(sys, "monitoring"), reason="from Python 3.12 on, sys.settrace is not used")
def test_a_debugger_keeps_its_trace_function_and_lines_are_missing(new_map: NewMap) -> None:
    a = pages(new_map)

    def debugger(*_: object) -> None:
        return None

    sys.settrace(debugger)
    try:
        with pte_magic.faults(source="rusage") as seen:
            a[::PAGE] = 1
        assert sys.gettrace() is debugger
    finally:
        sys.settrace(None)
    assert any("sys.settrace" in note for note in seen.notes)
    assert "lines cannot be traced" in str(seen)


def test_it_says_what_is_wrong_in_one_line() -> None:
    seen = pte_magic.faults(source="rusage")
    for ask in (seen.frame, seen.by_line, seen.by_variable, seen.timeline):
        with pytest.raises(ResourceError, match="has not ended yet; ask after it"):
            ask()
    assert repr(seen) == "<SeenFaults: the block has not ended yet>"
    with seen:
        pass
    with pytest.raises(ResourceError, match=r"seen already; call pte_magic.faults\(\)"), seen:
        pass
    wrong: list[dict[str, Any]] = [
        {"source": "nix"}, {"source": 3}, {"most": 0}, {"buffer": -1}, {"lines": 3}, {"children": "x"},
    ]  # fmt: skip
    for options in wrong:
        with pytest.raises(PteMagicError, match=r"^[^\n]*$"), pte_magic.faults(**options):
            pass


@pytest.mark.parametrize("source", SOURCES)
def test_a_child_that_is_forked_in_the_block_leaves_it_quietly(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    warm(source)
    pid = -1
    status = 1
    try:
        with pte_magic.faults(source=source) as seen:
            pid = os.fork()
            if pid:
                status = os.waitpid(pid, 0)[1]
                a[::PAGE] = 1
        if not pid:
            os._exit(0 if repr(seen).endswith("has not ended yet>") and sys.gettrace() is None else 1)
    finally:
        if not pid:
            os._exit(2)
    assert status == 0
    assert of_line(seen, sys._getframe().f_lineno - 7) >= PAGES
    assert any("faults of child processes are not seen; type --children" in note for note in seen.notes)


@pytest.mark.parametrize("source", RECORDING)
def test_children_can_be_followed(new_map: NewMap, source: str) -> None:
    a = pages(new_map)
    warm(source)
    with pte_magic.faults(source=source, children=True) as seen:
        pid = os.fork()
        if not pid:
            a[::PAGE] = 1
            os._exit(0)
        os.waitpid(pid, 0)
    found = seen.frame()
    assert int((found["pid"] == pid).sum()) >= PAGES
    inside = (found["address"] >= a.ctypes.data) & (found["address"] < a.ctypes.data + a.nbytes)
    assert int((inside & (found["pid"] == pid)).sum()) == PAGES
    assert not any("child processes" in note for note in seen.notes)


@pytest.mark.parametrize("traces", [True, False])
@pytest.mark.parametrize("source", SOURCES)
def test_it_keeps_no_variable_alive(source: str, *, traces: bool) -> None:
    before, inside = np.ones(10), np.ones(10)
    gone = [weakref.ref(before), weakref.ref(inside)]
    with pte_magic.faults(source=source, lines=traces) as seen:
        first = gone[1]()
        assert first is not None
        del first, inside
        assert gone[1]() is None
    del before
    assert [one() for one in gone] == [None, None]
    mine = locals()
    with pte_magic.faults(source=source, lines=traces):
        pass
    assert mine["seen"] is seen


def test_it_works_in_an_exit_stack(new_map: NewMap) -> None:
    a = pages(new_map)
    with ExitStack() as stack:
        seen = stack.enter_context(pte_magic.faults(source="rusage"))
        a[::PAGE] = 1
    assert of_line(seen, sys._getframe().f_lineno - 1) >= PAGES


@pytest.mark.parametrize("source", RECORDING)
def test_a_file_that_is_mapped(new_map: NewMap, source: str, tmp_path: Any) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(b"x" * PAGES * PAGE)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, flags=PRIVATE, prot=READ) as data:
        warm(source)
        with pte_magic.faults(source=source) as seen:
            total = data[0] + data[(PAGES - 1) * PAGE]
        found = of_variable(seen, "data")
        assert total == 2 * ord("x")
        assert 1 <= len(found) <= 2  # the kernel may map all around the first
        if source == "bpf":
            assert set(found["kind"]) <= {"page cache", "page cache, read from disk"}
    assert new_map is not None


def test_the_names_of_a_class_are_read_without_its_methods(new_map: NewMap) -> None:
    a = pages(new_map)

    class Names(dict[str, Any]):
        def keys(self) -> Any:
            raise AssertionError

        __iter__ = items = keys

    class Meta(type):
        @classmethod
        def __prepare__(cls, *_: Any, **_more: Any) -> Names:
            return Names()

        def __new__(cls, name: str, bases: Any, names: Any) -> Any:
            return super().__new__(cls, name, bases, dict(dict.items(names)))

    class Made(metaclass=Meta):
        with pte_magic.faults() as seen:
            a[::PAGE] = 1

    assert Made.seen.source


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_whose_name_is_not_text(new_map: NewMap, source: str) -> None:
    code = compile("a[::step] = 1", "made.py", "exec").replace(co_filename="made\udcff\0.py", co_name="\x1b[31m")
    names = {"a": pages(new_map), "step": PAGE}
    with pte_magic.faults(source=source) as seen:
        exec(code, names)  # noqa: S102  (the code of this test)
    table = seen.by_line()
    assert int(table.loc[table["file"] == r"made\xff\x00.py", "faults"].sum()) >= PAGES
    assert "\x1b" not in repr(seen)
    seen.frame()


def test_a_generator_function_is_refused_as_its_body_runs_later() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, later):
        with pytest.raises(TargetError, match=f"'{function.__name__}' is a generator function.* around the loop"):
            pte_magic.faults()(function)
