"""Wrong arguments are one short line that names them; numbers are numbers, whoever made them."""

from __future__ import annotations

import os
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from handmade import PAGE

import pte_magic
from pte_magic import workloads
from pte_magic.errors import PteMagicError, arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A = np.ones(4096)
NO_NUMBERS: list[Any] = [
    "x", "self", "", 2.5, 6.1, float("nan"), float("inf"), True, np.True_, Decimal(1), Fraction(1, 2), b"1", [1], (),
    {}, A, pd.Series([1, 2]), pd.NA, object(), np.float64(2), np.datetime64("2026-01-01"), 1j, "é\n\x1b[31m" * 999,
    pd.DataFrame({"x": range(999)}),
]  # fmt: skip
CALLS: dict[str, Callable[[Any], object]] = {
    "end of walk": lambda value: pte_magic.walk(5, value),
    "end of entries": lambda value: pte_magic.entries(5, value),
    "end of stream": lambda value: pte_magic.stream(5, value),
    "end of watch": lambda value: pte_magic.watch(5, value),
    "pid of walk": lambda value: pte_magic.walk("all", pid=value),
    "pid of entries": lambda value: pte_magic.entries("all", pid=value),
    "pid of stream": lambda value: pte_magic.stream("all", pid=value),
    "pid of watch": lambda value: pte_magic.watch("all", pid=value),
    "rows": lambda value: pte_magic.stream(A, rows=value),
    "pages": workloads.private_mapping,
    "huge pages": workloads.huge_array,
}


def is_a_short_line(error: PteMagicError) -> None:
    assert "\n" not in str(error)
    assert str(error).isprintable()
    assert len(str(error)) <= 200


class Raises:
    """Raises something else than Python expects, whatever it is asked for."""

    def __raise(self, *_: object) -> Any:
        message = "x" * 100_000
        raise RuntimeError(message)

    __index__ = __float__ = __fspath__ = __len__ = __iter__ = __array__ = __repr__ = __str__ = __hash__ = __raise


class IntOfOwn(int):
    """A number that is not shown as one, and compares as it likes."""

    __repr__ = Raises.__repr__

    def __lt__(self, other: object) -> bool:
        return False


class TextOfOwn(str):
    """A text that cannot be shown, looked up, or cut."""

    __slots__ = ()
    __repr__ = __hash__ = __len__ = __getitem__ = Raises.__repr__  # type: ignore[assignment]  # as it is meant


HOSTILE: dict[str, Callable[[], Any]] = {
    "raises": Raises,
    "int": lambda: IntOfOwn(-5),
    "text": lambda: TextOfOwn("zz" * 999),
    "long name": type("X" * 100_000, (), {}),
    "name that is not seen": type("X\n\x1b", (), {}),
}
EVERY_CALL: dict[str, Callable[[Any], object]] = {
    **CALLS,
    "every": lambda value: pte_magic.watch(A, every=value),
    "walker": lambda value: pte_magic.walk(A, walker=value),
    "tables": lambda value: pte_magic.walk(A, tables=value),
    "entry": pte_magic.decode,
    "entries": lambda value: pte_magic.decode([1, value]),
    "level": lambda value: pte_magic.decode([1, 2], level=value),
    "levels": lambda value: pte_magic.decode([1, 2], level=["pte", value]),
    "format": lambda value: pte_magic.decode(1, arch=value),
    "release": lambda value: pte_magic.decode(1, release=value),
    "encryption mask": lambda value: pte_magic.decode(1, encryption_mask=value),
    "picture": pte_magic.BitField,
    "node": lambda value: workloads.move_to(value, workloads.private_mapping(1)),
    "advice": lambda value: workloads.huge_array(1, value),
    "access": lambda value: workloads.protect(workloads.private_mapping(1), value),
    "array": workloads.fork_with,
    "whole pages": workloads.page_out,
    "file": workloads.file_mapping,
    "shared": lambda value: workloads.file_mapping("/etc/hostname", shared=value),
}


@pytest.mark.parametrize("call", EVERY_CALL)
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_whose_own_code_raises_is_told_in_a_line(call: str, value: str) -> None:
    with pytest.raises(PteMagicError) as told:
        EVERY_CALL[call](HOSTILE[value]())
    assert str(told.value).isprintable()
    assert len(str(told.value)) <= 300  # with 200 letters of what the value's own error says


@pytest.mark.parametrize(
    "value", ["yes", "", -1, 0, 2, 1 << 200, 1.0, pd.NA, pd.NaT, [], A, object(), Decimal(1)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_whether_tables_are_shown_is_true_or_false(value: Any) -> None:
    with pytest.raises(PteMagicError, match=r"^tables=.* is not True or False; type tables=True ") as told:
        pte_magic.walk(A, tables=value)
    is_a_short_line(told.value)


def test_numpy_s_true_is_true() -> None:
    pages, start = len(pte_magic.entries(A)), A.ctypes.data
    assert len(pte_magic.walk(A, tables=np.False_)) == len(pte_magic.walk(A, tables=None)) == pages  # type: ignore[arg-type]
    for true in (np.True_, True, None):
        assert pte_magic.walk(start, tables=true)["level"].nunique() == len(pte_magic.walk(start))  # type: ignore[arg-type]
    assert len(pte_magic.walk(start, tables=np.False_)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_told_in_a_line(call: str, value: Any) -> None:
    with pytest.raises(PteMagicError) as told:
        CALLS[call](value)
    is_a_short_line(told.value)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", [-1, -(1 << 70), 1 << 70, 1 << 20000], ids=int.bit_length)
def test_numbers_that_are_out_of_range_are_told_in_a_line(call: str, value: int) -> None:
    if call == "rows" and value == 1 << 70:  # so many rows there may be
        assert sum(len(part) for part in pte_magic.stream(A, rows=value)) == len(pte_magic.entries(A))
        return
    with pytest.raises(PteMagicError) as told:
        CALLS[call](value)
    is_a_short_line(told.value)


@pytest.mark.parametrize("value", ["x", 2.5, A, None, True, float("nan"), b"x"], ids=str)
def test_an_end_goes_with_an_address(value: Any) -> None:
    for start in (A, "all", b"x"):
        with pytest.raises(PteMagicError) as told:
            pte_magic.walk(start, PAGE if value is None else value)
        is_a_short_line(told.value)
        assert str(told.value).startswith("`end` needs an integer start address, not ")


@pytest.mark.parametrize("value", [5, None, ["bpf"], b"bpf", "bpf" * 999, True], ids=lambda value: type(value).__name__)
def test_a_walker_is_a_name(value: Any) -> None:
    for call in (pte_magic.walk, pte_magic.entries, pte_magic.stream, pte_magic.watch):
        with pytest.raises(PteMagicError, match="type one of auto, bpf") as told:
            call(A, walker=value)
        is_a_short_line(told.value)
    with pytest.raises(PteMagicError, match="type one of auto, bpf"):
        pte_magic.machine(walker=value)


@pytest.mark.parametrize(
    "value", ["1", None, True, np.True_, float("nan"), Decimal("nan"), 10**400, -1, 1j, A], ids=str
)
def test_every_is_a_number_of_seconds(value: Any) -> None:
    with pytest.raises(PteMagicError, match="is not a number of seconds") as told:
        pte_magic.watch(A, every=value)
    is_a_short_line(told.value)


@pytest.mark.parametrize("number", [np.int64, np.uint64, np.int32, np.uint32, lambda value: pd.Series([value]).iloc[0]])
def test_numbers_of_numpy_and_pandas_are_numbers(number: Callable[[int], Any], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    here = pte_magic.walk(A)["vaddr"].iloc[0]
    pid, two = number(os.getpid()), number(2)
    assert len(pte_magic.walk(here, here + PAGE, pid=pid)) == 1
    assert len(pte_magic.entries(int(here), here + PAGE, pid=pid)) == 1
    assert [len(frame) for frame in pte_magic.stream(here, here + 4 * PAGE, rows=two, pid=pid)] == [2, 2]
    with pte_magic.watch(A, every=two, pid=pid) as seen:
        assert seen.running
    assert workloads.private_mapping(two).shape == (2, PAGE)
    pte_magic.snapshot(tmp_path / "one", pid)
    pte_magic.snapshot(tmp_path / "list", np.array([pid]))
    saved = pte_magic.load(tmp_path / "one")
    found = saved.frame(start=here, end=here + PAGE, pid=pid)
    assert found["vaddr"].tolist() == [here]
    assert len(next(saved.stream(start=here, pid=pid, rows=two))) == 2


@pytest.mark.parametrize("value", ["al", 2.5, [1.0], ["self"], True, [True], A, object(), [[1]], "x" * 9999],
                         ids=lambda value: type(value).__name__)  # fmt: skip
def test_snapshot_names_what_is_no_process(value: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(PteMagicError) as told:
        pte_magic.snapshot(tmp_path / "x", value)
    is_a_short_line(told.value)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("value", ["/etc/hostname", "/etc/hostname/x", "/proc/x", "", "a\0b", 5, None, A], ids=ascii)
def test_snapshot_names_a_path_that_cannot_be(value: Any) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(PteMagicError) as told:
        pte_magic.snapshot(value)
    is_a_short_line(told.value)
    with pytest.raises(PteMagicError) as told:
        pte_magic.load(value)
    is_a_short_line(told.value)


def test_what_a_saved_one_is_asked_for_is_checked(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pte_magic.snapshot(tmp_path / "one")
    saved = pte_magic.load(tmp_path / "one")
    for value in NO_NUMBERS:
        for wrong in ({"pid": value}, {"start": value}, {"end": value}, {"rows": value}):
            with pytest.raises(PteMagicError) as told:
                saved.stream(**wrong)
            is_a_short_line(told.value)
    with pytest.raises(PteMagicError):
        saved.frame(host=5)  # type: ignore[arg-type]  # what is tested


def test_what_is_shown_of_a_value_is_short() -> None:
    assert arguments.shown("x" * 1000) == "'" + "x" * 59 + "…"
    assert arguments.shown(A) == "an ndarray"
    assert arguments.shown(pd.DataFrame()) == "a DataFrame"
    assert arguments.shown(np.int64(5)) == "5"
    assert arguments.shown(1 << 5000) == "a number of 5001 bits"
    assert arguments.shown(np.str_("x" * 1000)) == arguments.shown("x" * 1000)
    assert arguments.shown(pd.NA) == "<NA>"
    assert arguments.shown(IntOfOwn(-5)) == "-5"
    assert arguments.shown(TextOfOwn("zz")) == "'zz'"
    assert arguments.shown(HOSTILE["long name"]()) == "a " + "X" * 60 + "…"
    assert arguments.class_name(HOSTILE["name that is not seen"]()) == r"X\n\x1b"


def test_the_limits_are_where_messages_say() -> None:
    assert arguments.rows(1) == 1
    with pytest.raises(PteMagicError, match=r"^rows=0 is not a whole number from 1 on; a frame has at least one row; "):
        arguments.rows(0)
    assert arguments.address((1 << 128) - 1, "start") == (1 << 128) - 1
    with pytest.raises(PteMagicError, match=rf"^start={1 << 128} is too large; type an address, such as "):
        arguments.address(1 << 128, "start")
    assert arguments.seconds(0.5, "every", 0.5, 9) == 0.5
    for value in (0.49, 9):
        with pytest.raises(PteMagicError, match=rf"^every={value} is not a number of seconds; type one from 0.5 on$"):
            arguments.seconds(value, "every", 0.5, 9)


def test_what_is_returned_is_of_python_s_own_type() -> None:
    assert type(arguments.integer(IntOfOwn(5), "pid", "")) is int
    assert type(arguments.plain(TextOfOwn("x"))) is type(arguments.text(TextOfOwn("x"), "name", "")) is str
    assert arguments.flag(np.True_, "tables", "") is True


def test_a_text_that_stands_for_no_bytes_is_not_a_path() -> None:
    assert arguments.path(b"x\xff") == "x\udcff"
    with pytest.raises(PteMagicError, match=r"^path='x\\ud800' is not a path; "):
        arguments.path("x\ud800")
