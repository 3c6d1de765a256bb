"""``pte-magic faults``: the faults of commands and processes, as text and as data, and the status of commands."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import NOBODY, forked, needs_root
from handmade import NOHUGEPAGE, PAGE, READ, WRITE, NewMap, write
from typed_commands import ENVIRONMENT, run, said
from waiting import wait_until

from pte_magic.errors import SourceUnavailableError
from pte_magic.events.fault_sources import open_source

N = 500
# Memory at a place of its own: the command's children have it, too.
TOUCH = f"""
import mmap, os
memory = mmap.mmap(-1, {N * PAGE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise({NOHUGEPAGE})
for at in range(0, {N * PAGE}, {PAGE}):
    memory[at] = 1
"""
FORK = f"""
pid = os.fork()
for at in range(0, {N * PAGE} if not pid else 0, {PAGE}):
    memory[at] = 2
if pid:
    os.waitpid(pid, 0)
"""


@pytest.fixture(params=["bpf", "perf"])
def source(request: pytest.FixtureRequest) -> str:
    """The name of each source of records in turn that works here."""
    try:
        open_source(request.param).close()
    except SourceUnavailableError as error:
        pytest.skip(str(error))
    return str(request.param)


def test_a_command_and_its_children_are_recorded_from_its_first_instruction(source: str) -> None:
    output = said("faults", "--json", "--source", source, "--", sys.executable, "-S", "-c", TOUCH + FORK)
    rows = [json.loads(line) for line in output.splitlines()]
    assert {row["source"] for row in rows} == {source}
    pids = list(dict.fromkeys(row["pid"] for row in rows))
    assert len(pids) == 2
    places = [{int(row["address"], 16) // PAGE for row in rows if row["pid"] == pid} for pid in pids]
    common = places[0] & places[1]
    runs = [at for at in common if all(at + n in common for n in range(N))]
    assert len(runs) >= 1  # the parent touched them first, the child copied them
    if source == "bpf":
        copied = [row for row in rows if row["pid"] == pids[1] and row["kind"] == "copy-on-write"]
        assert len(copied) >= N
        assert all(row["bytes"] in {PAGE, None} or row["bytes"] > PAGE for row in copied)


def test_a_process_for_some_seconds_or_until_it_ends(source: str, new_map: NewMap) -> None:
    at = new_map(N * PAGE, READ | WRITE, advice=NOHUGEPAGE)
    code = f"{TOUCH}\nimport time\nwhile True:\n    memory.madvise(4)\n    memory[0] = 1\n    time.sleep(0.01)"
    with forked(lambda: write(at, N * PAGE)) as child:
        rows = said("faults", "--json", "--seconds", "0.05", "--source", source, child.pid)
        assert rows == ""  # it waits
        assert child.pid
    done = run("faults", "--source", source, "--", "timeout", "1", sys.executable, "-c", code)
    assert done.returncode == 124
    assert re.match(r"[\d,]+ minor and [\d,]+ major faults", done.stdout)


@pytest.mark.parametrize(
    ("command", "status", "said_of_it"),
    [
        (["true"], 0, ""),
        (["sh", "-c", "exit 3"], 3, ""),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM, ""),
        (["/nonexistent/program"], 127, "pte-magic: '/nonexistent/program' cannot be run: No such file or directory\n"),
        ([""], 127, "pte-magic: '' cannot be run: No such file or directory\n"),
        (["/dev/null"], 126, "pte-magic: '/dev/null' cannot be run: Permission denied\n"),
    ],
)
def test_the_status_is_the_command_s(command: list[str], status: int, said_of_it: str) -> None:
    done = run("faults", "--", *command)
    assert (done.returncode, done.stderr) == (status, said_of_it)


def test_the_text_is_a_sentence_and_a_table(source: str) -> None:
    first, *rest = said("faults", "-s", source, "--", sys.executable, "-S", "-c", TOUCH).splitlines()
    assert re.match(rf"[\d,]+ minor and [\d,]+ major faults, in .* s.*\(source {source}\)$", first)
    assert rest[0].split()[0] == "faults"
    assert {"kind", "region"} <= set(rest[0].split())
    assert int(rest[1].split()[0].replace(",", "")) >= N // 4


def test_what_is_lost_is_said(source: str) -> None:
    typed = ("--max", "100", "-s", source, "--", sys.executable, "-S", "-c", TOUCH)
    assert re.search(r"\d+ more for which there was no room", said("faults", *typed))
    done = run("faults", "--json", *typed)
    assert len(done.stdout.splitlines()) == 100
    assert re.match(r"pte-magic: .* more for which there was no room", done.stderr)


def test_rusage_counts_those_of_a_command_that_has_ended() -> None:
    done = run("faults", "-s", "rusage", "--", sys.executable, "-S", "-c", TOUCH)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.match(r"([\d,]+) minor and", done.stdout)
    assert found
    assert int(found[1].replace(",", "")) >= N


@pytest.mark.parametrize("columns", [40, 80])
def test_the_text_fits_the_terminal(source: str, columns: int) -> None:
    typed = ("faults", "--max", "100", "-s", source, "--", sys.executable, "-S", "-c", TOUCH)
    found = said(*typed, env=ENVIRONMENT | {"COLUMNS": str(columns)}).splitlines()
    assert max(map(len, found)) <= columns, found
    assert any(line.startswith("faults ") for line in found)
    if source == "bpf" and columns == 40:
        assert "no room here for us, bytes" in found


@pytest.mark.parametrize("is_waited_for", [True, False])
@pytest.mark.parametrize("name", ["bpf", "perf", "rusage"])
def test_a_process_that_ends_meanwhile(name: str, *, is_waited_for: bool) -> None:
    """Also one whose parent does not wait for it: it stays as a zombie."""
    try:
        open_source(name).close()
    except SourceUnavailableError as error:
        pytest.skip(str(error))
    code = f"input()\n{TOUCH}"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE) as process:
        typed = [sys.executable, "-m", "pte_magic", "faults", "-s", name, str(process.pid)]
        with subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as told:
            wait_until(lambda: watches(told.pid) or told.poll() is not None)
            assert process.stdin
            process.stdin.write(b"\n")
            process.stdin.close()
            if is_waited_for:
                process.wait()
            out, err = told.communicate()
    assert (told.returncode, err) == (0, "")
    assert re.match(r"[\d,]+ minor and [\d,]+ major faults", out)


def watches(pid: int) -> bool:
    """Tell whether a command waits for the end of a process."""
    for fd in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            if str(fd.readlink()) == "anon_inode:[pidfd]":
                return True
    return False


@needs_root
def test_an_ordinary_user_gets_the_next_best() -> None:
    done = run("faults", "--", "true", user=NOBODY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "[source 'bpf' cannot work here: no permission" in done.stdout


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ([], "type a command after --, or the PID of a process, and not both"),
        (["1", "--", "true"], "type a command after --, or the PID of a process, and not both"),
        (["--seconds", "1", "--", "true"], "--seconds and --children are for a PID"),
        (["--max", "0", "--", "true"], "'0' is not a number from 1 on"),
    ],
)
def test_a_wrong_line_is_said(typed: list[str], why: str) -> None:
    done = run("faults", *typed)
    assert done.returncode == 2
    assert why in done.stderr


def test_a_source_or_a_process_that_is_not_there_is_said() -> None:
    done = run("faults", "-s", "pref", "--", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert "source 'pref' does not exist" in done.stderr
    assert "did you mean 'perf'?" in done.stderr
    with forked() as child:
        pid = child.pid
    done = run("faults", pid)
    assert (done.returncode, done.stderr.strip()[-60:].startswith("pid")) == (1, False)
    assert f"pid {pid}: no such process" in done.stderr
