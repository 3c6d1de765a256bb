"""Errors: one line each, what builtin they are, and unharmed by the way between processes."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import pte_magic
from pte_magic import errors

EVERY = [
    errors.TargetError("0x1: no"),
    errors.NoSuchProcessError(4711),
    errors.AccessDeniedError(4711),
    errors.NoAddressSpaceError(4711, "a zombie"),
    errors.NoProcError(4711),
    errors.WalkerUnavailableError("bpf", "no BTF"),
    errors.UnstableError(4711, 0x1000),
    errors.SystemTapError("parse error"),
    errors.WorkloadError("0 pages"),
    errors.MissingPackageError("tables", "hdf"),
    errors.WalkerClosedError("bpf"),
    errors.SourceUnavailableError("perf", "no permission"),
    errors.ResourceError("no descriptor"),
]


CALLED = {
    errors.TargetError: ValueError,
    errors.NoSuchProcessError: ProcessLookupError,
    errors.AccessDeniedError: PermissionError,
    errors.WorkloadError: ValueError,
    errors.MissingPackageError: ImportError,
}
"""What Python itself calls errors of the same kind; what is not here is an error of ours only."""


def test_every_error_is_listed_here() -> None:
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == {type(error) for error in EVERY} | {errors.PteMagicError}


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_error_survives_pickling(error: errors.PteMagicError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(error, CALLED.get(type(error), Exception)) for error in EVERY],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_error_is_what_python_calls_it(error: errors.PteMagicError, builtin: type[Exception]) -> None:
    assert isinstance(error, pte_magic.PteMagicError)
    others = [base for base in type(error).__mro__ if base.__module__ == "builtins"]
    assert others[0] is builtin  # what `except` of Python's own catches, and nothing else by chance


@pytest.mark.parametrize(
    ("error", "values"),
    [
        *zip(
            EVERY,
            [
                ["0x1"],
                ["4711"],
                ["4711"],
                ["4711", "zombie"],
                ["4711"],
                ["bpf", "BTF"],
                ["4711", "0x1000"],
                [],
                ["0 pages"],
                ["tables", "hdf"],
                ["bpf", "closed"],
                ["perf", "permission"],
                ["descriptor"],
            ],
            strict=True,
        )
    ],
)
def test_error_is_one_line_with_the_value(error: errors.PteMagicError, values: list[str]) -> None:
    assert len(str(error).splitlines()) == 1
    assert all(value in str(error) for value in values)


def test_an_error_is_never_very_long_and_keeps_its_end() -> None:
    for kind in (errors.TargetError, errors.WorkloadError, errors.ResourceError):
        assert len(str(kind("x" * 10**6 + "; type y"))) < 1100
        assert str(kind("x" * 10**6 + "; type y")).endswith("x; type y")
    assert len(str(errors.WalkerUnavailableError("bpf", "x" * 10**6))) < 1100
    assert len(str(errors.NoAddressSpaceError(5, "x" * 10**6))) < 1100
    assert len(str(errors.SystemTapError("x" * 10**6))) == 10**6  # a compiler's messages are wanted whole


class SaysNothing(Exception):  # noqa: N818  (it is about what it says)
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError("\x1b[31m"), r"\x1b[31m"),
        (ValueError("x" * 10**6), "x" * 200 + "…"),
        (SaysNothing(), "SaysNothing"),
    ],
    ids=range(5),
)
def test_what_somebody_else_s_error_says_is_a_short_line(error: Exception, words: str) -> None:
    assert errors.said(error) == words


def _fail(pid: int) -> None:
    pte_magic.walk("all", pid=pid)


def test_error_crosses_processes() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(errors.NoSuchProcessError) as caught,
    ):
        pool.submit(_fail, 1 << 30).result()
    assert caught.value.pid == 1 << 30
