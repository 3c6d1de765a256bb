"""Cells of SystemTap in a real shell on a real kernel: what they print, return, and leave behind, which is nothing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import cells
import documents
import numpy as np
import pandas as pd
import pytest
from conftest import forked, rows
from handmade import (
    ANONYMOUS,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PM_PFN,
    SHARED,
    NewMap,
    madvise,
    pfn,
    read,
    words,
    write,
)
from loaded import modules, programs
from running_cells import Clock, counted, interrupt, meanwhile, nothing_left_behind, run
from shells import Cell, Shell

from pte_magic.notebook.stap.output_table import table
from pte_magic.systemtap import module_cache as compiled
from pte_magic.systemtap import toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

if toolchain.cannot_load():
    pytest.skip(f"needs a guest of the lab: {toolchain.cannot_load()}", allow_module_level=True)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


@pytest.fixture(autouse=True)
def _nothing_is_left(shell: Shell) -> Iterator[None]:
    with nothing_left_behind(shell):
        yield


def test_lines_arrive_while_the_script_runs_and_are_returned(shell: Shell) -> None:
    clock = Clock()
    shell.ip.user_ns["times"] = 15
    done = clock.run(shell)
    assert done.result == counted(15)
    assert clock.text().startswith(counted(15))
    lines = [moment for moment, text in clock.came if any(part.isdecimal() for part in text.split())]
    assert lines[-1] - lines[0] > 0.7  # of 1.4 s; SystemTap passes on what there is every 0.2 s


def test_it_is_not_shown_again_as_a_result(shell: Shell) -> None:
    cell = run(shell, cells.COUNT, times=1)
    assert cell.out.removeprefix("Out[").count("target") == 1
    assert cell.result == counted(1)
    assert cell.err == ""
    kept = run(shell, cells.COUNT, "-o kept", times=2)
    assert (kept.result, kept.out) == (None, counted(2))
    assert shell.ip.user_ns["kept"] == counted(2)


def test_a_cell_is_compiled_once_whatever_its_numbers_are(shell: Shell) -> None:
    started: list[list[str]] = []
    listening = True

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "subprocess.Popen":
            started.append(arguments[1])

    sys.addaudithook(hear)  # for good
    module = compiled.kept(cells.COUNT.script())
    assert module
    before = module.stat().st_ctime_ns
    try:
        for times in (1, 2, 1):
            assert run(shell, cells.COUNT, times=times).result == counted(times)
    finally:
        listening = False
    assert [command[4] for command in started] == ["staprun"] * 3
    assert compiled.kept(cells.COUNT.script()) == module  # of others, the host may compile some for its next guest
    assert module.stat().st_ctime_ns == before


def test_another_process_is_the_target(shell: Shell) -> None:
    with forked(lambda: None) as child:
        assert run(shell, cells.COUNT, "-x child.pid", times=1, child=child).result == counted(1, child.pid)
        assert run(shell, cells.COUNT, f"-x {child.pid}", times=1).result == counted(1, child.pid)
    cell = run(shell, cells.COUNT, f"-x {child.pid}", times=1)
    assert cell.err == f"UsageError: pid {child.pid}: no such process; `ps -e` lists the pids of this host\n"


def test_an_error_while_it_runs_is_in_the_cells_words(shell: Shell) -> None:
    cell = run(shell, cells.DIVIDE, "-o kept", parts=0)
    called = "(called from identifier 'share' at line 8, column 18 of the cell)"
    assert cell.result is None
    assert cell.out == "before\n"
    assert cell.err.splitlines() == [
        "WARNING: careful",
        f"UsageError: ERROR: division by 0 near operator '/' at line 3, column 14 of the cell {called} in probe begin",
    ]
    assert shell.ip.user_ns["kept"] == "before\n"
    assert run(shell, cells.DIVIDE, parts=4).result == "before\n3\nthe end\n"


def test_embedded_c_needs_guru_and_a_parse_error_is_where_it_was_typed(shell: Shell) -> None:
    cell = shell.run("answer = 42")
    cell = shell.run("%%stap\nfunction f() %{ ; %}\nprobe end { print( $answer }")
    assert cell.result is None
    lines = cell.err.strip().splitlines()
    assert any(line.startswith("SystemTap compiles pte_magic_cell for kernel ") for line in lines)
    lines = [line for line in lines if "SystemTap compiles" not in line]
    assert lines[0] == "UsageError: parse error: embedded code in unprivileged script; need stap -g"
    assert "        saw: embedded-code at line 2, column 14 of the cell" in lines
    assert "        saw: operator '}' at line 3, column 28 of the cell" in lines
    assert lines[-1] == "(type %%stap -g)"
    assert shell.run(cells.GURU.typed()).result == "stapio!\n"


def test_all_of_a_huge_output_is_returned(shell: Shell) -> None:
    mib = 8
    cell = run(shell, cells.FLOOD, "-s 64", mib=mib)  # fits into the buffer several times, however slow we read
    *lines, last = cell.result.splitlines()
    assert last == "the end"
    assert len(cell.result) > mib << 20
    numbers = np.array([int(line) for line in lines])
    assert (numbers == np.arange(len(numbers))).all()
    assert len(cell.out) < (1 << 20) + 4096
    assert cell.out.startswith(cell.result[: 1 << 19])
    assert cell.out.splitlines()[-2 if cell.out.splitlines()[-1].startswith("Out") else -1] == "the end"
    assert f"({len(cell.result):,} characters in all)" in cell.err
    # A busy machine may skip probes, by which no output is lost; of all else there is not a word.
    assert all("skipped probes" in line for line in cell.err.splitlines() if "WARNING" in line), cell.err


def test_a_table_is_a_dataframe(shell: Shell) -> None:
    cell = run(shell, cells.TABLE, "-o kept", given=5)
    assert cell == Cell(None, "", "")
    pd.testing.assert_frame_equal(
        shell.ip.user_ns["kept"],
        pd.DataFrame(
            {
                "number": pd.array([7, -5], dtype="Int64"),
                "address": pd.array([(1 << 64) - 1, 4096], dtype="UInt64"),
                "name": pd.array(["two words", "stapio"], dtype="str"),
            }
        ),
    )
    assert list(run(shell, cells.TABLE, given=5).result["number"]) == [7, -5]


def test_values_of_python_arrive(shell: Shell) -> None:
    array = np.arange(100, 110, dtype=np.uint8)
    names: dict[str, Any] = {
        "small": -(1 << 63),
        "large": (1 << 63) - 1,
        "most": (1 << 64) - 1,
        "truth": True,
        "array": array,
    }
    text = cells.VALUES.names["text"]
    began = time.monotonic()
    cell = run(shell, cells.VALUES, **names, text=text)
    assert cell.result == f"{-(1 << 63)} {(1 << 63) - 1} -1 1\n{array.ctypes.data} {text} {len(text.encode())}\n"
    assert time.monotonic() - began < 25  # a program that the script started is not waited for


def test_what_systemtap_does_is_told_if_asked(shell: Shell) -> None:
    cell = run(shell, cells.COUNT, "-v", times=1)
    assert cell.result == counted(1)
    assert "staprun" in cell.err


def test_the_example_of_readme(shell: Shell) -> None:
    (line, text, _), *others = documents.readme()
    assert not others
    assert compiled.kept(documents.script(line, text, {"a"}))
    entry = int(rows(shell.ip.user_ns["a"].ctypes.data // PAGE * PAGE)["entry"].iloc[0])
    cell = shell.run(f"%%stap{line}\n{text}")
    level, found, *flags = cell.result.split()
    assert (level, int(found, 16)) == ("pte", entry), cell
    assert {"present", "user", "accessed", "nx"} <= set(flags)
    # Whoever forked since the page was written has left it read-only, and its dirty bit elsewhere.
    assert ("rw" in flags, "dirty" in flags) == (bool(entry & 1 << 1), bool(entry & 1 << 6))


def test_unloading_the_extension_unloads_the_walkers_module(shell: Shell) -> None:
    assert "walker stap" in repr(shell.run("%pte --walker stap a").result)
    assert len(modules()) == 1
    shell.run("%unload_ext pte_magic")
    try:
        assert not modules()
        assert not programs()
    finally:
        shell.run("%load_ext pte_magic")


def test_tapsets_of_ones_own(shell: Shell) -> None:
    assert run(shell, cells.INCLUDE, question=41).result == "42\n"


def test_entries_of_a_process_from_a_script(shell: Shell, new_map: NewMap) -> None:
    address = new_map(2 * HUGE, advice=NOHUGEPAGE)
    madvise(address + HUGE, HUGE, HUGEPAGE)
    write(address + HUGE - 3 * PAGE, PAGE)
    read(address + HUGE - 2 * PAGE, PAGE)
    write(address + HUGE, PAGE)
    told = run(shell, cells.ENTRY, address=address + HUGE - 3 * PAGE, pages=5).result
    seen = rows(address + HUGE - 3 * PAGE, 3 * PAGE + HUGE)
    assert told["entry"].tolist()[:4] == seen["entry"].tolist()
    assert told["level"].tolist() == ["pte", "pte", "pte", "pmd", "pmd"]
    assert told["size"].tolist() == [PAGE] * 3 + [HUGE] * 2
    assert told["present"].tolist() == [1, 1, 0, 1, 1]
    frames = [pfn(address + HUGE + at * PAGE) for at in (-3, -2, 0)]
    assert told["frame"].tolist() == [*frames[:2], -1, frames[2], frames[2]]
    flags = [set(text.split()) for text in told["flags"]]
    assert {"present", "rw", "user", "accessed", "dirty", "nx"} <= flags[0]
    assert "rw" not in flags[1]
    assert flags[2] == {"none"}
    assert told["entry"][3] == told["entry"][4]


def test_entries_from_a_probe_on_the_targets_page_faults(shell: Shell, new_map: NewMap) -> None:
    """At a fault, the page's entry is empty or the zero page's; that of the page before is as it will be."""
    address, ready = new_map(HUGE, advice=NOHUGEPAGE), new_map(PAGE, flags=SHARED | ANONYMOUS)
    others = iter(range(address + 8 * PAGE, address + HUGE, PAGE))
    clock = Clock()

    def touch() -> list[int]:
        if not read(ready):  # until the probe sees it, which is registered some time after its module is there
            write(next(others))
            return []
        write(address, 2 * PAGE)
        read(address + 2 * PAGE, PAGE)
        zero_page = rows(address + 2 * PAGE)["entry"]
        write(address + 2 * PAGE, PAGE)
        return [int(entry) for entry in [*zero_page, *rows(address, 3 * PAGE)["entry"]]]

    entries: list[int] = []
    with forked(*[touch] * 256) as child:

        def act() -> None:
            while "\n0x" not in clock.text():
                child.step()
                time.sleep(0.3)
            write(ready)
            entries.extend(child.step())
            interrupt()

        with meanwhile(act, after=modules):
            shell.ip.user_ns.update(child=child, first=address, end=address + HUGE)
            printed = clock.run(shell, "-x child.pid", cells.FAULTS).result
        frames = [int(word) & PM_PFN for word in words(address, 3 * PAGE, child.pid)]
    seen = table(printed)
    seen = seen[seen["address"] < address + 8 * PAGE]
    zero_page, *found = entries
    assert [entry >> 12 & (1 << 40) - 1 for entry in found] == frames
    was_present, is_write, is_user = 1, 2, 4
    assert [tuple(row) for row in seen.itertuples(index=False)] == [
        (address, is_user | is_write, 0, 0),
        (address + PAGE, is_user | is_write, 0, found[0]),
        (address + 2 * PAGE, is_user, 0, found[1]),
        (address + 2 * PAGE, is_user | is_write | was_present, zero_page, found[1]),
    ]
