"""``%pte --shared``: targets, pids and objects with a pid in a line, what it prints, and one line for bad input."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
from html import unescape
from typing import TYPE_CHECKING

import pytest
from conftest import forked
from handmade import PAGE
from shells import Shell
from waiting import wait_until

from pte_magic import Shared
from pte_magic.api.shared_watch import SharedWatch
from pte_magic.workloads import fork_with, private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = 100


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("ipython"))
    b = private_mapping(PAGES)
    b[:] = 1
    with fork_with(b) as child, fork_with(b) as other:
        for page in range(30):
            child.write(page)
        shell.ip.user_ns |= {"b": b, "child": child, "other": other, "one": other.pid}
        yield shell
        shell.ip.run_line_magic("unload_ext", "pte_magic")


def test_a_target_is_compared_with_all_children_and_with_those_that_are_named(shell: Shell) -> None:
    child, other = (shell.ip.user_ns[name] for name in ("child", "other"))
    pids = {
        "--shared b": {child.pid, other.pid},
        "--shared child.pid b": {child.pid},
        "--shared child.pid, other.pid, b": {child.pid, other.pid},
        "--shared child, b": {child.pid},
        "--shared one, b": {other.pid},
        f"--shared {child.pid} b": {child.pid},
        f"--shared {child.pid}, b": {child.pid},
    }
    for line, expected in pids.items():
        cell = shell.run(f"%pte {line}")
        assert cell.err == "", line
        table = cell.result
        assert set(table["pid"]) >= expected if line == "--shared b" else set(table["pid"]) == expected, line
        assert set(table["name"]) == {"b"}, line
        copied = table.set_index("pid")[["copied_there", "copied_either"]].sum(axis=1)
        assert copied.get(child.pid, 30 * PAGE) == 30 * PAGE, line
        assert copied.get(other.pid, 0) == 0, line


def test_digits_after_a_zero_are_an_address_as_proc_maps_has_it(shell: Shell) -> None:
    cell = shell.run("%pte --shared child, 00000000")
    assert "nothing is mapped" in cell.err or cell.result is not None, cell.err
    assert "leading zeros" not in cell.err


def test_several_targets_are_rows_and_the_same_twice_is_one(shell: Shell) -> None:
    table = shell.run("%pte --shared b, a, b, child").result
    assert sorted(table["name"]) == ["a", "b"]
    assert table.set_index("name")["type"].to_dict() == {
        "a": "ndarray",
        "b": table[table["name"] == "b"]["type"].item(),
    }


def test_all_memory_is_by_region(shell: Shell) -> None:
    child = shell.ip.user_ns["child"]
    for line in ("child", "child.pid all", f"{child.pid} all"):
        table = shell.run(f"%pte --shared {line}").result
        assert set(table["pid"]) == {child.pid}
        assert {"[heap]", "[stack]"} <= set(table["name"])


def test_arrays_are_told_apart_by_name_where_no_target_is_typed(shell: Shell) -> None:
    shell.run("values = np.arange(100 * 512 * 8)\nagain = values\npart = values[::2]\nnames = ['a'] * 10_000")
    with forked(lambda: None) as child:
        shell.ip.user_ns["late"] = child.pid
        shell.run("values[:512 * 8] = 1")
        table = shell.run("%pte --shared late").result
    rows = table.set_index("name")
    size = int(shell.ip.user_ns["values"].nbytes)
    assert rows.loc["values", "type"] == "ndarray"
    assert size <= rows.loc["values", "bytes"] < size + PAGE
    assert abs(int(rows.loc["values", "shared"]) - (size - 512 * 8 * 8)) <= 2 * PAGE
    assert abs(int(rows.loc["values", ["copied_here", "copied_either"]].sum()) - 512 * 8 * 8) <= 2 * PAGE
    assert "names" not in set(table["name"])  # that would be looking at each object
    assert "; %pte --shared names tells those of one" in " ".join(repr(table).split())
    sums = table[["shared", "copied_here", "copied_there", "copied_either", "never_shared", "swapped"]].sum(axis=1)
    assert (sums <= table["bytes"]).all()


def test_of_a_list_it_says_what_looking_does(shell: Shell) -> None:
    cell = shell.run("words = [str(n) for n in range(1000)]\n%pte --shared child, words")
    assert "each object that words leads to was looked at, and Python counts references in the objects" in " ".join(
        cell.out.split()
    )


def test_a_process_of_multiprocessing_is_its_pid(shell: Shell) -> None:
    ready, done = (multiprocessing.get_context("fork").Event() for _ in range(2))

    def work() -> None:
        ready.set()
        done.wait()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    try:
        assert ready.wait(60)
        shell.ip.user_ns["worker"] = process
        assert set(shell.run("%pte --shared worker, b").result["pid"]) == {process.pid}
    finally:
        done.set()
        process.join()


def test_text_fits_80_columns_and_html_says_the_same(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for line in ("b", "", "child, b"):
        cell = shell.run(f"%pte --shared {line}")
        text = repr(cell.result)
        assert max(map(len, text.splitlines())) <= 80, text
        html = unescape(re.sub("<[^>]*>", " ", cell.result._repr_html_()))
        headline = " ".join(text.split("\n   ")[0].splitlines()[:1])
        assert headline in html
        assert "processes forked from it" in html or "1 process forked from it" in html
    few = shell.run("%pte --shared child, b").result
    assert "\ncopies take 120 KiB; if all is copied, 280 KiB more" in repr(few) or PAGE != 4096
    assert isinstance(few, Shared)
    assert "copied_there" not in repr(few[["name", "pid", "shared"]])


def test_a_watch_tells_the_pace_and_what_is_left(shell: Shell) -> None:
    child = shell.ip.user_ns["child"]
    with shell.run("%pte --shared --watch --every 0.02 child, b").result as watch:
        assert type(watch) is SharedWatch
        first = watch.table()
        left = int(first["shared"].sum())
        for page in range(30, 50):
            child.write(page)
        wait_until(lambda: int(watch.table()["shared"].sum()) == left - 20 * PAGE)
        counts = watch.counts()
        assert counts["copies"].diff().sum() == 20 * PAGE
        assert watch.pace() > 0
        text = repr(watch)
        assert text.startswith("shared memory of child, b: copies take ")
        assert "MiB/s lately" in text
        assert " more if all is copied" in text
        assert re.search(rf"\d\d:\d\d:\d\d\.\d\d\d  pid {child.pid} [\d.]+ KiB more copied", text)
        assert "pages now" in text
        html = watch._repr_mimebundle_()[0]["text/html"]
        assert "more copied" in html
        assert f'alt="pid {child.pid}' in html
        assert set(watch.frame()["pid"]) == {child.pid}
    assert "; stopped" in repr(watch)
    times = [table for table in watch]  # noqa: C416  (what it yields in the end)
    assert len(times) == 1


def test_a_watch_ends_with_its_processes(shell: Shell) -> None:
    with forked(lambda: None) as gone:
        shell.ip.user_ns["gone"] = gone.pid
        watch = shell.run("%pte --shared --watch --every 0.02 gone, b").result
        assert watch.running
    wait_until(lambda: not watch.running)
    assert re.search(rf"; stopped: .*\bpid {gone.pid}: ", repr(watch))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b,, a", "'b,, a': a target is missing at a comma; type %pte --shared a, b"),
        ("nonsense", "name 'nonsense' is not defined"),
        ("--map b", "--shared does not go with --map; type %pte --shared TARGET, or %pte --shared --watch TARGET"),
        ("--every 2 b", "--every goes with --watch; "),
        ("--watch --every 0.001 b", "every=0.001 is not a number of seconds; type one from 0.01 on"),
        ("--walker nope b", "walker 'nope' does not exist"),
        ("4194304 b", "pid 4194304: no such process"),
        ("4194304", "pid 4194304: no such process; `ps -e` lists the pids of this host"),
        ("child, 4194304", "pid 4194304: no such process"),
        ("[haep]", "did you mean"),
    ],
)
def test_bad_input_is_one_line(shell: Shell, line: str, message: str) -> None:
    cell = shell.run(f"%pte --shared {line}")
    assert message in cell.err
    assert len((cell.out + cell.err).strip().splitlines()) == 1


def test_without_children_it_says_what_to_type() -> None:
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
shell.run_line_magic("load_ext", "pte_magic")
shell.run_cell("%pte --shared")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = (done.stdout + done.stderr).strip()
    assert said.endswith("UsageError: this process has no children to compare with; fork some, as a pool does, or type "
                         "%pte --shared PID for another process and its children")  # fmt: skip
