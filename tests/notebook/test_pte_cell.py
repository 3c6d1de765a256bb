"""``%%pte``: cells that change memory, each as it would run without the magic, and what is said of it."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import descriptors, forked, needs_root
from differences import told
from handmade import PAGE, pfn, resident, write
from shells import Cell, Shell

from pte_magic.api.pte_diff import PteDiff
from pte_magic.notebook.before_after import Around

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pte_magic.walkers.entries import Entries

MAP = f"""
import asyncio, mmap
held = mmap.mmap(-1, 16 * {PAGE})  # shared memory, in small pages, of which none is there
m = np.frombuffer(held, np.uint8)
address = m.ctypes.data
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


@pytest.fixture
def shell(started: Shell) -> Shell:
    started.run(MAP)
    return started


def address(shell: Shell) -> int:
    found: int = shell.ip.user_ns["address"]
    return found


def changed(cell: Cell) -> dict[int, set[str]]:
    assert type(cell.result) is PteDiff, cell
    return told(cell.result)


def test_the_entries_that_a_cell_changed_are_shown(shell: Shell) -> None:
    cell = shell.run(f"%%pte m\nm[2 * {PAGE}] = 1\nm[5 * {PAGE}] = 1")
    assert changed(cell) == {address(shell) + i * PAGE: {"mapped"} for i in (2, 5)}
    assert all(resident(address(shell) + i * PAGE) for i in (2, 5))
    assert "entries changed: 2 mapped\n" in cell.out
    assert shell.run("_").result is cell.result
    assert cell.err == ""


def test_what_a_cell_prints_shows_and_assigns_is_as_without(shell: Shell) -> None:
    cell = shell.run(
        f"%%pte m\nprint('printed')\nm[0] = 7\n%time made = 3\ndef f(): return made\nf() + m[:{PAGE}].sum()"
    )
    assert cell.out.index("printed") < cell.out.index("10") < cell.out.index("entries changed")
    assert "Wall time" in cell.out
    assert shell.run("f()").result == 3
    silent = shell.run("%%pte m\nm[0] = 8\n'a value';")
    assert "a value" not in silent.out
    assert isinstance(silent.result, PteDiff)


@pytest.mark.parametrize("which", ["all", "none", "last"])
def test_which_values_are_shown_is_up_to_the_shell(shell: Shell, which: str) -> None:
    shell.ip.ast_node_interactivity = which
    try:
        out = shell.run("%%pte -w pagemap m;\n'first'\n'second'").out
    finally:
        shell.ip.ast_node_interactivity = "last_expr"
    assert ("first" in out, "second" in out) == (which == "all", which != "none")


@pytest.mark.parametrize(
    "body",
    [
        "def f():\n    raise KeyError(3)\ntry:\n    f()\nexcept KeyError as e:\n    raise ValueError(4) from e",
        "await asyncio.sleep(0)\n1 / 0",
        "%nonsense",
        "raise KeyboardInterrupt",
        "raise SystemExit(3)",
    ],
)
@pytest.mark.filterwarnings("ignore:To exit")
def test_a_cell_that_raises_is_as_without(shell: Shell, body: str) -> None:
    shell.run("m[3] = 1")
    body = f"print('here')\nmade, held[3 * {PAGE}] = 5, 1\n{body}"
    cell = shell.run(f"%%pte -o found m\n{body}")
    assert "entries changed: 1 mapped\n" in cell.out
    assert shell.run("made, _ is found").result == (5, True)
    alone = shell.run(body)
    for text in alone.out.removeprefix("here\n"), alone.err:
        # The number of a cell is part of its name: a shell that keeps no history counts one less within a magic.
        assert text.replace("input-1-", "input-0-") in (cell.out + cell.err).replace("input-1-", "input-0-")
    assert "pte_magic" not in cell.out
    assert cell.out.index("entries changed") < len(cell.out) - len(alone.out.removeprefix("here\n"))


def test_an_error_that_is_raised_again_is_shown_where_it_is(shell: Shell) -> None:
    shell.run("error = ValueError('mine')\n%pte m;")
    assert "in inner" in shell.run("%%pte m\ndef inner(): raise error\ninner()").out
    assert "in other" in shell.run("def other(): raise error\nother()").out


def test_a_cell_that_does_not_compile_is_not_run(shell: Shell) -> None:
    cell = shell.run("%%pte m\nprint('here')\nx =")
    assert "SyntaxError: invalid syntax" in cell.out
    assert "here" not in cell.out.splitlines()
    assert cell.err.strip() == "UsageError: the cell does not compile, so nothing was run"
    assert "pte_magic" not in cell.out


def test_a_cell_may_await(shell: Shell) -> None:
    cell = shell.run(
        f"%%pte m\nasync def later():\n    held[{PAGE}] = 1\nawait later()\nawait asyncio.sleep(0, 'slept')"
    )
    assert changed(cell) == {address(shell) + PAGE: {"mapped"}}
    assert "slept" in cell.out
    assert shell.run(f"%%pte m\nasyncio.run(later())\nheld[2 * {PAGE}] = 1").result["vaddr"].tolist() == [
        address(shell) + 2 * PAGE
    ]


def test_the_memory_of_a_name_that_is_deleted_is_held(shell: Shell) -> None:
    cell = shell.run("big = np.ones(1 << 20)\n%pte big;")
    cell = shell.run("%%pte big\nbig[0] = 2\ndel big")
    assert cell.out.startswith("`big` was deleted; %%pte held its memory until now, so it is not unmapped\n")
    assert cell.result.empty or "unmapped" not in " ".join(cell.result["change"])
    assert "big" not in shell.ip.user_ns
    out = shell.run("%%pte m\nm = np.ones(9)").out
    assert out.startswith("`m` is another object now; the comparison is for the memory of the old one")


def test_memory_that_is_unmapped(shell: Shell) -> None:
    shell.run(f"n = mmap.mmap(-1, 4 * {PAGE}); n[0] = 1; where = np.frombuffer(n, np.uint8).ctypes.data")
    where = shell.ip.user_ns["where"]
    cell = shell.run("%%pte n\nn.close()")
    assert cell.out.splitlines()[0] == f"no longer mapped: 16 KiB, {where:#014x}-{where + 4 * PAGE:#014x}"
    assert changed(cell) == {where: {"unmapped"}}
    shell.run(f"n = mmap.mmap(-1, 4 * {PAGE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)")
    cell = shell.run(f"%%pte n\nn.resize({1 << 20})")
    assert "no longer mapped: 16 KiB" in cell.out or "now another mapping" in cell.out


def test_data_that_moved(shell: Shell) -> None:
    shell.run("grows = bytearray(100)")
    assert "`grows` moved its data" in shell.run("%%pte grows\ngrows.extend(bytes(1 << 20))").out


@needs_root
def test_parent_and_child_are_told_side_by_side(shell: Shell) -> None:
    private = mmap.mmap(-1, 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    private.madvise(15)  # MADV_NOHUGEPAGE
    shell.ip.user_ns["p"] = private
    at = shell.run("np.frombuffer(p, np.uint8).ctypes.data").result
    write(at, 4 * PAGE)
    with forked(lambda: write(at + PAGE)) as child:
        shell.ip.user_ns["child"] = child
        cell = shell.run("%%pte p, child.pid p\nchild.step()")
        assert list(cell.result) == ["p", "child.pid p"]
        assert cell.result["p"].empty
        theirs = cell.result["child.pid p"]
        assert theirs["vaddr"].tolist() == [at + PAGE]
        assert theirs["pfn_after"].tolist() == [pfn(at + PAGE, child.pid)]
        assert cell.out.index("\np\nnothing changed") < cell.out.index("\nchild.pid p\n1 of 4 entries changed")
        html = cell.result._repr_html_()
        assert html.index("<h4><code>p</code></h4>") < html.index("<h4><code>child.pid p</code></h4>")


@pytest.fixture
def waiting(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """A process that does a line of Python when asked, known to the shell as `child`."""
    code = "import sys\nprint(flush=True)\nfor line in sys.stdin: exec(line)"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "\n"
        shell.ip.user_ns["child"] = child
        yield child
        child.kill()


@pytest.mark.usefixtures("waiting")
def test_the_process_exits(shell: Shell) -> None:
    before = descriptors()
    cell = shell.run("%%pte child.pid [heap], m\nchild.kill(); child.wait();")
    assert cell.out.splitlines()[0].startswith(f"child.pid [heap]: pid {shell.ip.user_ns['child'].pid}: exited, or")
    assert list(cell.result) == ["m"]
    assert descriptors() == before


def test_the_process_execs(shell: Shell, waiting: subprocess.Popen[str]) -> None:
    ask = 'import os; os.execlp("sh", "sh", "-c", "echo new; exec cat")'
    cell = shell.run(
        f"%%pte {waiting.pid} all\n_ = child.stdin.write('{ask}\\n'), child.stdin.flush(), child.stdout.readline()"
    )
    assert cell.out.startswith(f"pid {waiting.pid}: exited, or replaced its address space by exec, since it was opened")
    assert cell.result is None


def test_what_happens_later_is_waited_for(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    held, look, taken = shell.ip.user_ns["held"], Around.entries, threading.Semaphore(0)

    def counted(around: Around) -> Entries | None:
        found = look(around)
        taken.release()
        return found

    def later() -> None:
        for page in range(1, 4):
            taken.acquire()  # after a look that was taken when the cell had run
            held[page * PAGE] = 1

    monkeypatch.setattr(Around, "entries", counted)
    thread = threading.Thread(target=later)
    thread.start()
    cell = shell.run("%%pte --settle 600 m\npass")
    thread.join()
    assert changed(cell) == {address(shell) + page * PAGE: {"mapped"} for page in range(1, 4)}


def test_waiting_ends_with_the_time_or_an_interrupt(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell.run("%%pte --settle 0.1 m\npass").result.empty

    def interrupt(_: float) -> None:
        held[PAGE] = 1
        raise KeyboardInterrupt

    held = shell.ip.user_ns["held"]
    monkeypatch.setattr("pte_magic.notebook.before_after.time.sleep", interrupt)
    cell = shell.run("%%pte --settle 600 m\nm[0] = 1")
    assert cell.out.startswith("interrupted; the comparison is with the entries at that moment\n")
    assert changed(cell) == {address(shell) + page * PAGE: {"mapped"} for page in (0, 1)}


def test_the_difference_is_kept_and_silenced(shell: Shell) -> None:
    assert shell.run("%%pte -o kept m;\nheld[0] = 1") == Cell(None, "", "")
    assert told(shell.ip.user_ns["kept"]) == {address(shell): {"mapped"}}
    cell = shell.run("%%pte --out kept --walker pagemap m, a[2:3]\nheld[1] = 1")
    assert shell.ip.user_ns["kept"] is cell.result
    assert list(cell.result) == ["m", "a[2:3]"]


def test_unloading_takes_it_away(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    before = list(shell.ip.input_transformers_post)
    assert before
    assert shell.run("%reload_ext pte_magic") == Cell(None, "", "")
    assert len(shell.ip.input_transformers_post) == len(before)
    shell.run("%unload_ext pte_magic")
    assert "`%%pte` not found" in shell.run("%%pte a\nawait 5").err
    assert shell.ip.input_transformers_post == []


def marks(text: str) -> list[list[int]]:
    """Return the squares that are marked as changed, line by line."""
    return [
        [at for at, mark in enumerate(line) if mark == "^"] for line in text.splitlines() if set(line) == {" ", "^"}
    ]


def test_maps_show_where_the_cell_changed_something(shell: Shell) -> None:
    cell = shell.run(f"%%pte --map -o found m\nm[3 * {PAGE}] = 1\nm[5 * {PAGE}] = 1")
    assert type(cell.result).__name__ == "BeforeAfter"
    assert marks(cell.out) == [[3, 5], [3, 5]]
    assert told(shell.ip.user_ns["found"]) == {address(shell) + i * PAGE: {"mapped"} for i in (3, 5)}
    assert shell.run(f"%%pte -m m;\nm[6 * {PAGE}] = 1").result is None


def test_maps_of_several_targets_and_of_a_cell_that_fails(shell: Shell) -> None:
    cell = shell.run(f"%%pte --map --color size m, m[: 4 * {PAGE}]\nm[2 * {PAGE}] = 1")
    assert list(cell.result) == ["m", f"m[: 4 * {PAGE}]"]
    assert marks(cell.out) == [[2]] * 4
    assert cell.out.count("coloured by size") == 4
    failed = shell.run(f"%%pte --map m\nm[9 * {PAGE}] = 1\n1 / 0")
    assert marks(failed.out) == [[9], [9]]


def test_a_colouring_that_does_not_exist_still_shows_the_difference(shell: Shell) -> None:
    cell = shell.run(f"%%pte --map --color zork m\nm[2 * {PAGE}] = 1")
    assert "cannot colour by 'zork'" in cell.out
    assert changed(cell) == {address(shell) + 2 * PAGE: {"mapped"}}
    refused = shell.run("%%pte --color size m\nm[0] = 1")
    assert "--color goes with --map; type %%pte --map --color COLUMN TARGET" in refused.err
    assert not resident(address(shell))
