"""Wrong arguments are one short line that names them; numbers are numbers, whoever made them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from handmade import PAGE

import pte_magic
from pte_magic import arguments, workloads
from pte_magic.errors import PteMagicError

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


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_told_in_a_line(call: str, value: Any) -> None:
    with pytest.raises(PteMagicError) as told:
        CALLS[call](value)
    is_a_short_line(told.value)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", [-1, -(1 << 70), 1 << 70, 1 << 20000], ids=int.bit_length)
def test_numbers_that_are_out_of_range_are_told_in_a_line(call: str, value: int) -> None:
    if call == "rows" and value > 0:
        return  # so many rows there may be
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
    import os  # noqa: PLC0415  (a name that only this test needs)

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
    assert arguments.shown("x" * 1000) == "'" + "x" * 57 + " …"
    assert arguments.shown(A) == "an ndarray"
    assert arguments.shown(pd.DataFrame()) == "a DataFrame"
    assert arguments.shown(np.int64(5)) == "5"
    assert arguments.shown(1 << 5000) == "a number of 5001 bits"
