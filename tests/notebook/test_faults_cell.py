"""``%%pte --faults`` in a real shell: cells that raise, await, nest and time, options, and one line for bad input."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import forked
from handmade import PAGE
from shells import Cell, Shell

from pte_magic import SeenFaults
from pte_magic.events import lines

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = 64
MADE = f"""
import asyncio, mmap, threading
def new():
    held = mmap.mmap(-1, {PAGES} * {PAGE})  # shared memory, in small pages, of which none is there
    return np.frombuffer(held, np.uint8)
def touch(what):
    what[::{PAGE}] = 1
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("ipython"))
    shell.run(MADE)
    shell.run("%%pte --faults\nwarm = new(); touch(warm)")
    return shell


@pytest.fixture
def shell(started: Shell) -> Iterator[Shell]:
    started.run("m, n = new(), new()")
    yield started
    assert sys.gettrace() is None
    assert lines._shared._hook is None


def seen(cell: Cell) -> SeenFaults:
    assert type(cell.result) is SeenFaults, cell
    return cell.result


def by_line(found: SeenFaults, least: int = PAGES) -> dict[int, str]:
    """Return the lines with many faults, and their code."""
    table = found.by_line()
    table = table[table["line"].notna() & (table["faults"] >= least)]
    return dict(zip(table["line"].astype(int), table["code"], strict=True))


@pytest.mark.parametrize("source", ["auto", "rusage"])
def test_the_lines_of_the_cell_and_of_functions_of_other_cells(shell: Shell, source: str) -> None:
    cell = shell.run(f"%%pte --faults --source {source}\nx = 1\nm[::{PAGE}] = x\n\ntouch(n)\n")
    found = by_line(seen(cell))
    assert found == {2: f"m[::{PAGE}] = x", 6: f"what[::{PAGE}] = 1"}
    assert re.search("page faults (in|took) ", cell.out)
    assert shell.run("_").result is cell.result
    assert cell.err == ""


def test_the_cell_is_shown_with_its_lines(shell: Shell) -> None:
    out = shell.run(f"%%pte --faults\nx = 1\nm[::{PAGE}] = x").out
    assert [line.split("  ")[-1].strip() for line in out.splitlines() if line.endswith("x = 1")] == ["x = 1"]
    hot = next(line for line in out.splitlines() if line.endswith(f"m[::{PAGE}] = x"))
    assert hot.startswith("########")


def test_empty_lines_at_the_end_of_the_cell_are_not_shown(shell: Shell) -> None:
    out = shell.run(f"%%pte --faults\nm[::{PAGE}] = 1\n\ntouched = 2\n\n\n").out
    lines = out.splitlines()
    last = next(at for at, line in enumerate(lines) if line.endswith("touched = 2"))
    assert not lines[last - 1].split()[1:], out  # only its number
    assert lines[last + 1].split()[0] != "4", out


def test_the_line_magic_says_where_the_option_goes(shell: Shell) -> None:
    for line in ("%pte --faults", "%pte --faults m", "%pte m --faults"):
        cell = shell.run(line)
        assert "--faults goes with a cell; type %%pte --faults" in cell.out + cell.err


def test_output_values_and_silence_are_as_without(shell: Shell) -> None:
    cell = shell.run("%%pte --faults -o kept\nprint('printed')\nmade = 5\nmade + 1")
    assert cell.out.index("printed") < cell.out.index("6") < cell.out.index("page fault")
    assert shell.run("made").result == 5
    assert shell.run("kept").result is cell.result
    silent = shell.run(f"%%pte --faults -o kept;\nm[::{PAGE}] = 1")
    assert silent.result is None
    assert silent.out == ""
    assert 1 in by_line(shell.run("kept").result)


@pytest.mark.parametrize("error", ["1 / 0", "raise KeyboardInterrupt", "await asyncio.sleep(0); 1 / 0", "%nonsense"])
def test_a_cell_that_fails_shows_its_faults_first(shell: Shell, error: str) -> None:
    cell = shell.run(f"%%pte --faults -o kept\nm[::{PAGE}] = 1\n{error}")
    assert re.search("page faults (in|took) ", cell.out)
    assert "pte_magic" not in cell.out
    assert 1 in by_line(shell.run("kept").result)
    assert shell.run("_ is kept").result


def test_a_cell_may_await(shell: Shell) -> None:
    cell = shell.run(
        f"%%pte --faults\nasync def later():\n    await asyncio.sleep(0.001)\n    m[::{PAGE}] = 1\n"
        f"await later()\nn[::{PAGE}] = 1\nawait asyncio.sleep(0)"
    )
    assert set(by_line(seen(cell))) == {3, 5}


def test_targets_may_be_made_or_deleted_by_the_cell(shell: Shell) -> None:
    made = seen(shell.run(f"%%pte --faults k\nk = new()\nk[::{PAGE}] = 1\nm[::{PAGE}] = 1"))
    if len(made.frame()):
        assert len(made.frame()) == PAGES
        assert set(made.frame()["line"]) == {2}
    deleted = seen(shell.run(f"%%pte --faults n, m\nn[::{PAGE}] = 1\ndel n\nk[::{PAGE}] = 1"))
    if len(deleted.frame()):
        assert len(deleted.frame()) == PAGES


def test_a_variable_that_the_cell_deletes_is_named(shell: Shell) -> None:
    found = seen(shell.run(f"%%pte --faults\nn[::{PAGE}] = 1\ndel n"))
    if len(found.frame()):  # the source knows addresses
        assert int((found.frame()["variable"] == "n").sum()) == PAGES


def test_timed_cells(shell: Shell) -> None:
    inner = shell.run(f"%%pte --faults\n%%time\nm[::{PAGE}] = 1")
    assert "Wall time" in inner.out
    assert set(by_line(seen(inner))) == {1}
    outer = shell.run(f"%%time\n%%pte --faults\nn[::{PAGE}] = 1")
    assert "Wall time" in outer.out
    assert by_line(seen(outer)) == {1: f"n[::{PAGE}] = 1"}


def test_a_cell_in_a_cell(shell: Shell) -> None:
    code = f"x = 1\nget_ipython().run_cell_magic('pte', '--faults -o inside', 'm[::{PAGE}] = 1')\nn[::{PAGE}] = 1"
    outer = seen(shell.run(f"%%pte --faults\n{code}"))
    inside = shell.run("inside").result
    assert by_line(inside) == {1: f"m[::{PAGE}] = 1"}
    assert f"n[::{PAGE}] = 1" in by_line(outer).values()
    assert int(outer.by_line()["faults"].sum()) > int(inside.by_line()["faults"].sum())


def test_a_thread_of_the_cell(shell: Shell) -> None:
    cell = shell.run(
        "%%pte --faults\nthread = threading.Thread(target=touch, args=(m,))\nthread.start(); thread.join()"
    )
    assert list(by_line(seen(cell)).values()) == [f"what[::{PAGE}] = 1"]


def test_without_lines_the_cell_is_not_traced(shell: Shell) -> None:
    shell.ip.user_ns["traced"] = sys.gettrace
    cell = shell.run(f"%%pte --faults --no-lines\nm[::{PAGE}] = 1\nfound = traced()")
    assert shell.run("found").result is None
    assert by_line(seen(cell)) == {}
    assert int(seen(cell)._done().seen.minor) >= PAGES


def test_another_tracer_keeps_its_place(shell: Shell) -> None:
    if hasattr(sys, "monitoring"):
        pytest.skip("from Python 3.12 on, sys.settrace is not used")

    def debugger(*_: object) -> None:
        return None

    sys.settrace(debugger)
    try:
        cell = shell.run(f"%%pte --faults\nm[::{PAGE}] = 1")
        assert sys.gettrace() is debugger
    finally:
        sys.settrace(None)
    assert "lines cannot be traced: something else, such as a debugger" in " ".join(cell.out.split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--faults nothing_like_it", "name 'nothing_like_it' is not defined"),
        ("--faults --source nix", "source 'nix' does not exist; type one of auto, "),
        ("--faults --source", "--source needs a value; type --source NAME"),
        ("--faults --max 0", "'0' is not a whole number above 0; type one such as 100000"),
        ("--faults --max many", "'many' is not a whole number above 0; type one such as 100000"),
        ("--faults --map m", "--map does not go with --faults; type %%pte --faults, or %%pte --faults TARGET"),
        ("--faults --settle 3", "--settle does not go with --faults"),
        ("--faults -w stap", "--walker does not go with --faults"),
        ("--no-lines m", "--no-lines goes with --faults; type %%pte --faults --no-lines"),
        ("--source perf m", "--source goes with --faults; type %%pte --faults --source"),
        ("", "a target is missing"),
    ],
)
def test_bad_input_is_one_line_and_nothing_runs(shell: Shell, line: str, said: str) -> None:
    cell = shell.run(f"%%pte {line}\nm[0] = 77")
    assert said in cell.err
    assert len(cell.err.strip().splitlines()) == 1
    assert shell.run("int(m[0])").result == 0


def test_another_process_is_for_the_command(shell: Shell) -> None:
    with forked(lambda: None) as child:
        shell.ip.user_ns["child"] = child
        err = shell.run("%%pte --faults child.pid m\nm[0] = 77").err
    assert "--faults sees this process, and child.pid m is of another; type pte-magic faults PID in a shell" in err


def test_completion(shell: Shell) -> None:
    assert "%%pte --faults" in shell.complete("%%pte --fa")
    assert "%%pte --faults --source rusage" in shell.complete("%%pte --faults --source r")


def test_a_target_that_the_cell_made_into_another_thing_is_a_note(shell: Shell) -> None:
    found = seen(shell.run("%%pte --faults m[5:], q\ntouch(m)\nm, q = None, 3"))
    assert any("only what the targets were before the block is shown" in note for note in found.notes)
