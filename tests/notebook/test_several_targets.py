"""``%pte a, c``: several targets in one line are one table, and what is to be said of each is said above it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from handmade import PAGE
from shells import Shell

import pte_magic
from pte_magic.targets import target as targets
from pte_magic.targets.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("ipython"))
    made.run("c = np.ones(8 * 512)\nthings = [1, 2]")
    return made


@pytest.fixture
def child(shell: Shell) -> Iterator[int]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"\n"
        shell.ip.user_ns["child"] = process
        yield process.pid
        process.kill()


def pages(shell: Shell, name: str) -> set[int]:
    array = shell.ip.user_ns[name]
    return set(range(array.ctypes.data & -PAGE, array.ctypes.data + array.nbytes, PAGE))


def covered(found: pd.DataFrame) -> list[int]:
    """Return each page that rows cover, as often as they do."""
    both = zip(found["vaddr"].tolist(), found["size"].tolist(), strict=True)
    return [page for first, size in both for page in range(first, first + size, PAGE)]


def test_two_arrays_are_one_table(shell: Shell) -> None:
    cell = shell.run("%pte a, c")
    assert type(cell.result) is pte_magic.PteFrame
    wanted = pages(shell, "a") | pages(shell, "c")
    assert wanted <= set(covered(cell.result))
    small = cell.result[cell.result["size"] == PAGE]
    assert set(small["vaddr"]) <= wanted
    assert cell.err == ""


@pytest.mark.parametrize("line", ["a, a", "a, a[5:], a", "a[:9], a[9:]"])
def test_what_targets_share_is_shown_once(shell: Shell, line: str) -> None:
    found = shell.run(f"%pte {line}").result
    assert len(covered(found)) == len(set(covered(found)))
    assert pages(shell, "a") <= set(covered(found))


def test_a_comma_within_brackets_separates_nothing(shell: Shell) -> None:
    cell = shell.run("%pte (a, c)")
    assert cell.out.startswith(f"the tuple object itself, {sys.getsizeof((1, 2))} bytes; its items are elsewhere\n")


def test_of_which_a_note_is_is_said(shell: Shell) -> None:
    cell = shell.run("%pte a, things, 0x10001-0x10002")
    first = cell.out.splitlines()[0]
    assert first.startswith("things: the list object itself, ")
    assert "; 0x10001-0x10002: 0x10001-0x10002 was widened to whole pages" in first


def test_targets_of_several_processes_are_told_by_pid(shell: Shell, child: int) -> None:
    found = shell.run("%pte a, child.pid [stack], c").result
    assert set(found["pid"]) == {child, shell.ip.user_ns["os"].getpid()}
    assert pages(shell, "a") | pages(shell, "c") <= set(covered(found[found["pid"] != child]))
    theirs: Any = found[found["pid"] == child]
    pd.testing.assert_frame_equal(
        theirs[["vaddr", "size"]].reset_index(drop=True), pte_magic.walk("[stack]", pid=child)[["vaddr", "size"]]
    )


@pytest.mark.parametrize("line", ["a,", ", a", "a, , c"])
def test_a_missing_target_is_asked_for_in_a_line(shell: Shell, line: str) -> None:
    cell = shell.run(f"%pte {line}")
    assert cell.result is None
    assert "a target is missing at a comma; type %pte a" in cell.err + cell.out
    assert len((cell.err + cell.out).splitlines()) == 1


def test_a_watch_of_several_processes_is_refused(shell: Shell, child: int) -> None:
    cell = shell.run(f"%pte --watch a, {child} [stack]")
    assert "a watch is of one process; type %pte --watch for each" in cell.err + cell.out


def test_ranges_of_several_targets_are_merged_in_order() -> None:
    one, two = Target(((8 * PAGE, 9 * PAGE),), None, "low"), Target(((PAGE, 2 * PAGE), (9 * PAGE, 10 * PAGE)))
    assert targets.together([("a", one), ("b", two)]) == Target(
        ((PAGE, 2 * PAGE), (8 * PAGE, 10 * PAGE)), None, "a: low"
    )
