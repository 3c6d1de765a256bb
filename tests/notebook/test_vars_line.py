"""``%pte --vars`` and ``%pte --file`` in a real shell: names, what IPython holds, and one line for bad input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import forked
from shells import Shell

from pte_magic import PageCache, Variables

if TYPE_CHECKING:
    from pathlib import Path

LARGE = 8 * 10**6  # bytes of a million numbers


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.run("big = np.ones(10**6)\ntext = 'letters'\ndef f(): return big")
    return shell


def vars_of(shell: Shell, line: str = "") -> Any:
    found = shell.run(f"%pte --vars {line}").result
    assert isinstance(found, Variables)
    return found.set_index("name", drop=False)


def test_names_are_those_of_the_user(shell: Shell) -> None:
    found = vars_of(shell)
    assert {"big", "text", "a", "f"} <= set(found.index)
    assert not {"_ih", "_oh", "quit", "get_ipython", "__name__"} & set(found.index)
    assert LARGE <= found.loc["big", "resident"] < LARGE + 1000
    assert found.loc["big", "frees"] == found.loc["big", "resident"]
    assert abs(int(found["resident"].sum()) - found.attrs["rss"]) < 4 << 20


def test_output_history_is_a_row_and_says_what_to_type(shell: Shell) -> None:
    shell.ip.history_manager.enabled = True
    shell.ip.execution_count = 12
    shell.ip.run_cell("np.zeros(10**6) + 1", store_history=True)
    shell.ip.run_cell("big", store_history=True)
    found = vars_of(shell)
    assert LARGE <= found.loc["Out[12]", "resident"] < LARGE + 1000
    assert found.loc["Out[12]", "says"].startswith("float64")
    assert "Out[13]" not in found.index  # it is big
    assert found.loc["big", "frees"] == 0
    said = found.loc["big", "remark"]
    assert said.startswith("Out[13] and others hold it, too: type %reset -f out, type get_ipython().")
    del found
    while said:  # what it says is typed until nobody holds it
        for typed in said.partition("it, too: type ")[2].split(", type "):
            assert shell.run(f"{typed};" if "pop" in typed else typed).err == ""
        said = vars_of(shell).loc["big", "remark"]
    after = vars_of(shell)
    assert after.loc[[str(name).startswith("Out[") for name in after.index], "resident"].sum() < LARGE
    assert after.loc["big", "frees"] >= LARGE


def test_the_last_error_is_a_row(shell: Shell) -> None:
    shell.run("def fails():\n    local = np.ones(10**6)\n    raise ValueError(local.shape)\nfails()")
    found = vars_of(shell)
    rows = [name for name in found.index if str(name).startswith("sys.last_")]
    assert rows
    assert found.loc[rows, "resident"].sum() >= LARGE
    assert "sys.last_traceback = None" in found.loc[rows, "remark"].iloc[0]


def test_some_names_only(shell: Shell) -> None:
    assert set(vars_of(shell, "big, text").index) == {"big", "text"}


def test_a_child_has_this_process_names(shell: Shell) -> None:
    with forked(lambda: None) as child:
        shell.ip.user_ns["child"] = child
        found = vars_of(shell, "--pid child")
        assert found.attrs["pid"] == child.pid
        assert LARGE <= found.loc["big", "resident"] < LARGE + 1000
        assert found.loc["big", "shared"] >= LARGE // 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--vars bgi", "'bgi' is not a variable; did you mean 'big'?"),
        ("--vars nothing_like_it", "'nothing_like_it' is not a variable; %pte --vars shows all names"),
        ("--vars --pid 1", "pid 1"),
        ("--vars --pid 99999999", "no such process"),
        ("--vars --pid nope", "--pid nope is not defined; type the number of a forked child, or an object that has"),
        ("--vars --pid 099999999", "no such process"),
        ("--vars --map", "--vars does not go with --map; type %pte --map TARGET"),
        ("--pid 1", "--pid goes with --vars; type %pte --vars --pid CHILD"),
        ("--file", "--file needs a value; type --file PATH"),
        ("--file /no/such", "'/no/such': No such file or directory"),
        ("--file /etc/passwd a", "--file is about a file; type %pte --file PATH"),
    ],
)
def test_bad_input_is_one_line(shell: Shell, line: str, said: str) -> None:
    cell = shell.run(f"%pte {line}")
    assert cell.result is None
    assert said in cell.err + cell.out
    assert len((cell.err + cell.out).strip().splitlines()) == 1


def test_a_file(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(np.ones(5000).tobytes())
    found = shell.run(f"%pte --file {path}").result
    assert isinstance(found, PageCache)
    assert int(found["size"].sum()) == 5000 * 8
    shell.ip.user_ns["where"] = path
    assert isinstance(shell.run("%pte --file {where}").result, PageCache)


def test_completion(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert "%pte --vars" in shell.complete("%pte --va")
    assert f"%pte --file {tmp_path}/model.safetensors" in shell.complete(f"%pte --file {tmp_path}/mod")
    assert not [line for line in shell.complete("%pte --vars --") if "--map" in line]
