"""``pte-magic diff``: what happened while a command ran, and the command's own input, output and status."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess

import pytest
from conftest import forked
from handmade import PAGE, NewMap
from typed_commands import ENVIRONMENT, run, said, words


def test_what_changed_while_the_command_ran(new_map: NewMap) -> None:
    start = new_map(4 * PAGE)
    what = f"{start:#x}-{start + 4 * PAGE:#x}"
    with forked(lambda: bool(ctypes.memset(start + 2 * PAGE, 1, PAGE))) as child:
        line = words(
            "diff", "--json", child.pid, what, "--", "sh", "-c", "echo begun; read line; echo $line >&2; exit 7"
        )
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=ENVIRONMENT, cwd="/") as process:  # fmt: skip
            assert process.stdout
            assert process.stdout.readline() == "begun\n"  # so the first walk is over
            child.step()
            output, errors = process.communicate("its own input\n")
    assert (process.returncode, errors) == (7, "its own input\n")
    (row,) = [json.loads(text) for text in output.splitlines()]
    assert (int(row["vaddr"], 16), row["size"], row["state_before"], row["state_after"]) == (
        start + 2 * PAGE, PAGE, "none", "present",
    )  # fmt: skip


def test_nothing_changed_in_a_while(new_map: NewMap) -> None:
    start = new_map(PAGE)
    with forked() as child:
        typed = ("--seconds", "0.01", child.pid, f"{start:#x}-{start + PAGE:#x}")
        assert re.fullmatch(r"nothing( .+ has)? changed\n", said("diff", *typed))


@pytest.mark.parametrize(
    ("command", "status", "said_of_it"),
    [
        (["true"], 0, ""),
        (["sh", "-c", "exit 3"], 3, ""),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM, ""),
        (["/nonexistent/program"], 127, "pte-magic: '/nonexistent/program' cannot be run: No such file or directory\n"),
        (["/dev/null"], 126, "pte-magic: '/dev/null' cannot be run: Permission denied\n"),
    ],
)
def test_the_status_is_the_command_s(new_map: NewMap, command: list[str], status: int, said_of_it: str) -> None:
    start = new_map(PAGE)
    with forked() as child:
        done = run("diff", child.pid, f"{start:#x}-{start + PAGE:#x}", "--", *command)
    assert (done.returncode, done.stderr) == (status, said_of_it)


def test_an_interrupt_is_the_command_s_and_the_changes_are_shown(new_map: NewMap) -> None:
    start = new_map(PAGE)
    with forked() as child:
        line = words(
            "diff", child.pid, f"{start:#x}-{start + PAGE:#x}", "--", "sh", "-c", "echo begun; exec sleep 1000"
        )
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd="/",
                              process_group=0) as process:  # fmt: skip
            assert process.stdout
            assert process.stdout.readline() == "begun\n"
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            output, errors = process.communicate()
    assert (process.returncode, errors) == (128 + signal.SIGINT, "")
    assert output.startswith("nothing")


def test_a_process_that_ends_meanwhile_is_told_of() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        done = run(
            "diff",
            process.pid,
            "--",
            "sh",
            "-c",
            f"kill -KILL {process.pid}; while grep -q . /proc/{process.pid}/maps; do :; done",
        )
    assert done.returncode == 1
    assert re.fullmatch(rf"pte-magic: pid {process.pid}: [^\n]+\n", done.stderr)
