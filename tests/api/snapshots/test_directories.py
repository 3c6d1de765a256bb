"""Where a snapshot is put, and what is found there: any name that a file may have; one clear line for all others."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from conftest import NOBODY, needs_root, python
from peaks import waiting

import pte_magic
from pte_magic.errors import TargetError
from pte_magic.text import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 400  # characters of an error


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A snapshot of a small process, and its pid."""
    path = tmp_path_factory.mktemp("snapshot") / "whole"
    with waiting("sh", "-c", "echo up; read answer") as pid:
        pte_magic.snapshot(path, pid)
    return path, pid


@pytest.fixture
def place(written: tuple[Path, int], tmp_path: Path) -> Path:
    """The directory of the only process in a copy of it."""
    (found,) = Path(shutil.copytree(written[0], tmp_path / "copy")).glob("host=*/pid=*")
    return found


def refused(do: Callable[[], object]) -> str:
    with pytest.raises(pte_magic.PteMagicError) as told:
        do()
    text = str(told.value)
    assert text.isprintable()
    assert len(text) < LONGEST
    return text


def test_only_the_last_directory_is_made(tmp_path: Path) -> None:
    said = refused(lambda: pte_magic.snapshot(tmp_path / "mistyped" / "deep" / "new"))
    assert said == f"{tmp_path}/mistyped/deep does not exist; make it first, or check the path"
    assert not list(tmp_path.iterdir())


def test_what_was_written_fits_80_columns_with_whole_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = pte_magic.snapshot(tmp_path / "new", [os.getpid(), 1 << 22])
    monkeypatch.setenv("COLUMNS", "80")
    shown = repr(told)
    assert max(map(len, shown.splitlines())) <= 80
    assert str(told["error"].iloc[-1]) in " ".join(shown.split())
    assert units.size(int(told["bytes"].iloc[0])) in shown
    assert repr(told[["rows"]])


@pytest.mark.parametrize("name", [b"\xff", b"\xff\xfe/\xc3", "caf\u00e9".encode(), b"a b%41\n'", b"x" * 255], ids=ascii)
def test_any_name_that_a_file_may_have_is_one(name: bytes, tmp_path: Path) -> None:
    path: Any = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).parent.mkdir(exist_ok=True)
    pte_magic.snapshot(path)
    found = pte_magic.load(path)
    assert len(found.frame())
    assert repr(found).isprintable()
    assert "exists" in refused(lambda: pte_magic.snapshot(path))
    assert os.path.isdir(path)  # noqa: PTH112  (a Path has no bytes)


class Raises:
    """A path that cannot be told."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __fspath__(self) -> str:
        raise self.error


class Lies:
    """A path that is not one."""

    def __fspath__(self) -> Any:
        return 5


@pytest.mark.parametrize(
    "path",
    ["x" * 300, "x" * 5000, "y/" * 3000, "a/" + "x" * 300, b"x" * 300, "\ud800", "a\udfff", "a\0b", b"a\0b", b"",
     Raises(RuntimeError), Raises(ValueError), Raises(OSError), Lies(), 5.0, None, []],
    ids=lambda value: ascii(value)[:20],
)  # fmt: skip
def test_a_path_that_cannot_be_is_one_line_and_leaves_nothing(
    path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(lambda: pte_magic.snapshot(path))
    refused(lambda: pte_magic.load(path))
    assert not [*tmp_path.iterdir()]


@needs_root
def test_who_may_not_look_is_told(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    pte_magic.snapshot(hidden / "one")
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    code = f"""
from pte_magic import PteMagicError, load, snapshot
for do in (load, snapshot):
    for path in ({str(hidden)!r}, {str(hidden / "one")!r}, {str(hidden / "two" / "x")!r}):
        try:
            do(path)
        except PteMagicError as error:
            print("Permission denied" in str(error), end=" ")
"""
    assert python(code, user=NOBODY).split() == ["True"] * 6


@pytest.mark.parametrize(
    "name",
    ["pid=-1", "pid=0", "pid=01", "pid=1_0", "pid=+5", "pid= 5", "pid=5 ", "pid=5\n", "pid=\u0661", "pid=\uff15",
     "pid=", "pid=x", "pid=0x5", "pid=5.0", "pid=1e3", "pid=2147483648", "pid=99999999999999999999999",
     "pid=__HIVE_DEFAULT__"],
    ids=ascii,
)  # fmt: skip
def test_a_directory_that_is_not_named_after_a_process_is_said(name: str, place: Path) -> None:
    place.rename(place.parent / name)
    assert "is not named after a process" in refused(lambda: pte_magic.load(place.parents[1]))


def test_a_directory_that_is_not_named_after_a_machine_is_said(place: Path) -> None:
    place.parent.rename(place.parents[1] / "host=")
    assert "is not named after a host" in refused(lambda: pte_magic.load(place.parents[1]))


def test_each_process_is_there_once(place: Path) -> None:
    path = place.parents[1]
    shutil.copy(place / "part-0.parquet", place / "part-1.parquet")
    assert "part-1.parquet is not a file of a snapshot" in refused(lambda: pte_magic.load(path))
    (place / "part-1.parquet").unlink()
    host = place.parent.name.removeprefix("host=")
    shutil.copytree(place.parent, path / f"host=%{ord(host[0]):02x}{host[1:]}")  # the same name
    assert "are of the same process" in refused(lambda: pte_magic.load(path))


def test_entries_of_another_process_are_not_given(place: Path, written: tuple[Path, int]) -> None:
    place.rename(place.parent / "pid=7")
    saved = pte_magic.load(place.parents[1])
    for do in (saved.frame, saved.processes, lambda: next(saved.stream())):
        assert f"is of pid {written[1]}, " in refused(do)


def test_what_else_lies_there_is_nothing_to_a_snapshot(place: Path, written: tuple[Path, int]) -> None:
    path = place.parents[1]
    for other in (path, place.parent, place):
        (other / "README.md").write_text("mine", encoding="ascii")
        (other / ".part-1.parquet").write_text("hidden", encoding="ascii")
    (path / "host=file").write_text("", encoding="ascii")
    (place.parent / "pid=5").mkdir()  # and nothing in it
    pd.testing.assert_frame_equal(pte_magic.load(path).frame(), pte_magic.load(written[0]).frame())


def raising() -> Iterator[int]:
    yield os.getpid()
    raise LookupError


class NoList:
    def __iter__(self) -> Iterator[int]:
        raise RuntimeError


@pytest.mark.parametrize(
    "pids",
    [
        np.array(5.5),
        np.array("al"),
        np.array(None),
        raising(),
        NoList(),
        itertools.count(),
        itertools.repeat(1),
        range(1 << 40),
    ],
    ids=lambda value: type(value).__name__,
)
def test_pids_that_cannot_be_gone_through_are_said(pids: Any, tmp_path: Path) -> None:
    assert "pids=" in refused(lambda: pte_magic.snapshot(tmp_path / "x", pids))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "made",
    [np.array, np.int32, lambda pid: iter([pid]), lambda pid: {pid: 1}, lambda pid: pd.Index([pid]), lambda pid: {pid}],
)
def test_pids_in_any_form(made: Callable[[int], Any], tmp_path: Path) -> None:
    assert list(pte_magic.snapshot(tmp_path, made(os.getpid())).index) == [os.getpid()]


def test_it_is_the_same_error_for_whoever_catches_it(tmp_path: Path) -> None:
    with pytest.raises(TargetError):
        pte_magic.load(tmp_path / ("x" * 300))
