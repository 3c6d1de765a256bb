"""``pte-magic show`` and ``summary``: they say of a process what Python does, and to whom it is not shown, why."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import NOBODY, forked, needs_root, python
from handmade import PAGE, PM_PRESENT, SHARED, NewMap, libc, write
from handmade import words as pagemap_words
from typed_commands import ENVIRONMENT, run, said, terminal
from waiting import wait_until

import pte_magic
from pte_magic.text import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALL_ROWS = "pandas.options.display.max_rows = None"


@contextmanager
def stopped(**options: int | list[int]) -> Iterator[int]:
    """Give the pid of a process that is stopped, and killed in the end."""
    with subprocess.Popen(["sleep", "1000"], **options) as process:  # type: ignore[call-overload]  # user and group
        try:
            wait_until(lambda: b"sleep\0" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
            wait_until(lambda: "[heap]" in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8"))
            process.send_signal(signal.SIGSTOP)
            wait_until(
                lambda: Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2][1] == "T"
            )
            yield process.pid
        finally:
            process.kill()


def region(pid: int, name: str) -> tuple[int, int]:
    """Return where a region is, as /proc/PID/maps says."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    found = re.search(rf"^([0-9a-f]+)-([0-9a-f]+) .*{re.escape(name)}$", maps, re.MULTILINE)
    assert found
    return int(found[1], 16), int(found[2], 16)


def reads_as(expected: Callable[[], object], *typed: object) -> None:
    """Wait until the command says what Python does: the kernel may clear a bit, such as accessed, between two walks."""
    wait_until(lambda: said(*typed) == f"{expected()}\n", instead=lambda: f"{said(*typed)}\n is not \n{expected()}")


def at_shell(frame: object) -> str:
    """Return the text of a frame with the words for who types at a shell."""
    with screen.shell():
        return str(frame)


def test_one_address_reads_character_by_character_as_in_python(walker: str) -> None:
    if walker in {"helper", "stap"}:
        pytest.skip("the command has no helper of the tests, and compiles for minutes")
    with stopped() as pid:
        start, end = region(pid, "[stack]")
        for address in (start, end - PAGE, end - 1, region(pid, "[heap]")[0]):
            reads_as(
                partial(pte_magic.walk, address, pid=pid, walker=walker), "show", "-w", walker, pid, f"{address:#x}"
            )


def test_an_address_where_nothing_is_mapped_is_noted() -> None:
    with stopped() as pid:
        done = run("show", pid, "00001000")
        assert done.stderr == "pte-magic: nothing is mapped at 0x1000\n"
        assert done.stdout == f"{pte_magic.walk(0x1000, pid=pid)}\n"
        assert run("show", pid, "4096").stderr.startswith(
            "pte-magic: nothing is mapped at 0x1000; 4096 was read as dec"
        )


def test_two_pids_are_not_taken_for_a_pid_and_an_address() -> None:
    with stopped() as pid:
        done = run("show", pid, os.getpid())
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{os.getpid()} is the pid of a process" in done.stderr


def test_one_address_takes_no_pandas() -> None:
    code = "import sys; from pte_magic.cli import main; print(main(['show', {!r}, {!r}]), 'pandas' in sys.modules)"
    with stopped() as pid:
        address = f"{region(pid, '[heap]')[0]:#x}"
        assert python(code.format(str(pid), address)).splitlines()[-1] == "0 False"
    assert python("import sys, pte_magic; pte_magic.walk; print('pandas' in sys.modules)") == "True"


def test_a_region_and_a_range_read_as_in_python() -> None:
    with stopped() as pid:
        start, end = region(pid, "[heap]")
        heap = partial(pte_magic.walk, "[heap]", pid=pid)
        reads_as(heap, "show", pid, "[heap]")
        reads_as(heap, "show", pid, f"{start:x}-{end:x}")
        reads_as(lambda: heap().runs(), "show", "--runs", pid, "[heap]")
        reads_as(lambda: heap().summary(), "summary", pid, "[heap]")


def test_a_whole_process_reads_as_in_python() -> None:
    with stopped() as pid:
        whole = partial(pte_magic.walk, "all", pid=pid)
        for target in ((), ("all",)):

            def differing(target: tuple[str, ...] = target) -> list[str]:
                """Return the lines of the table that differ; other processes map the same files, or no longer."""
                *shown, last = said("show", pid, *target).splitlines()
                assert last.endswith("; --entries shows these")
                here = str(whole()).splitlines()[:-1]
                return [*set(shown) ^ set(here)]

            wait_until(lambda: not differing(), instead=differing)
        reads_as(lambda: at_shell(whole().copy()), "show", "--entries", pid)


def test_regions_are_those_of_smaps() -> None:
    with stopped() as pid:
        rows = [json.loads(line) for line in said("show", "--json", pid).splitlines()]
        smaps = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8")
    heads = re.findall(r"^([0-9a-f]+)-[0-9a-f]+ (\S{4}) ", smaps, re.MULTILINE)
    resident = re.findall(r"^Rss: +(\d+) kB", smaps, re.MULTILINE)
    there = {(int(start, 16), mode): int(size) << 10 for (start, mode), size in zip(heads, resident, strict=True)}
    found = {(int(row["vaddr"], 16), row["permissions"]): row["resident"] for row in rows}
    assert found == {key: size for key, size in there.items() if key in found}
    assert sum(found.values()) == sum(there.values())


def test_a_pipe_gets_all_regions_and_a_terminal_as_many_as_it_has_room_for() -> None:
    with forked(lambda: True) as child:
        regions = len(pte_magic.walk("all", pid=child.pid).regions())
        maps = Path(f"/proc/{child.pid}/maps").read_text(encoding="utf-8").splitlines()
        modes = {int(line.partition("-")[0], 16): line.split()[1] for line in maps}
        piped = said("show", child.pid, env=ENVIRONMENT)
        with terminal("show", str(child.pid), LINES="40", NO_COLOR="1") as short:
            fitted = short.end()
    assert regions > 100  # more than pandas prints
    shown = re.findall("^(0x[0-9a-f]+) .* (\\S{4})$", piped, re.MULTILINE)
    assert {int(vaddr, 16): mode for vaddr, mode in shown}.items() <= modes.items()
    assert len(shown) == regions
    assert max(map(len, piped.splitlines())) <= 80
    assert 20 < len(re.findall("^0x", fitted, re.MULTILINE)) < len(fitted.splitlines()) < 40
    assert "--all shows all rows" in " ".join(fitted.split())


def test_a_long_table_says_what_to_type_for_all_of_it(new_map: NewMap) -> None:
    start = new_map(200 * PAGE)
    for page in range(0, 200, 4):  # between them are runs of empty entries
        write(start + page * PAGE)
    in_python = str(pte_magic.walk(start, start + 200 * PAGE))
    assert f"{ALL_ROWS} shows all rows" in in_python
    shown = said("show", os.getpid(), f"{start:#x}-{start + 200 * PAGE:#x}")
    assert "--all shows all rows" in shown
    assert ALL_ROWS not in shown


def test_all_rows_have_every_page_that_pagemap_says_is_there(new_map: NewMap) -> None:
    start, pages = new_map(100 * PAGE), 100
    write(start, pages * PAGE)
    what = f"{start:#x}-{start + pages * PAGE:#x}"
    there = np.flatnonzero(pagemap_words(start, pages * PAGE) & np.uint64(PM_PRESENT)) * PAGE + start
    shown = said("show", "--all", "--walker", "pagemap", os.getpid(), what)
    found = re.findall(r"^\d+ +(0x[0-9a-f]+) ", shown, re.MULTILINE)
    assert [int(address, 16) for address in found] == there.tolist()
    assert len(found) == pages


def test_bytes_in_memory_are_those_that_smaps_counts() -> None:
    with stopped() as pid:
        rows = [json.loads(line) for line in said("summary", "--json", pid, "[heap]").splitlines()]
        smaps = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").partition("[heap]\n")[2]
        resident = re.search(r"^Rss: +(\d+) kB", smaps, re.MULTILINE)
    assert resident
    assert sum(row["bytes"] for row in rows if row["state"] == "present") == int(resident[1]) * 1024


@needs_root
def test_a_user_sees_own_processes_and_is_told_why_not_others() -> None:
    with stopped(user=NOBODY, group=NOBODY, extra_groups=[]) as own, stopped() as other:
        address = f"{region(own, '[heap]')[0]:#x}"
        assert "walker pagemap" in said("show", own, address, user=NOBODY)
        done = run("show", other, address, user=NOBODY)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(rf"pte-magic: pid {other}: permission denied; [^\n]+\n", done.stderr)


def test_names_act_on_no_terminal(new_map: NewMap) -> None:
    """A process that calls itself what clears a screen, with memory of the same name."""
    clear = b"\x1b[2J\xff"
    fd = os.memfd_create(os.fsdecode(clear))
    os.truncate(fd, PAGE)
    start = new_map(PAGE, flags=SHARED, fd=fd)
    os.close(fd)
    with forked(lambda: libc.prctl(15, clear, 0, 0, 0) or bool(ctypes.memset(start, 1, PAGE))) as child:  # PR_SET_NAME
        child.step()
        for line in (
            ["machine", "--all"],
            ["show", "--frames", child.pid, r"memfd:\x1b[2J\xff"],
            ["show", child.pid, "memfd:\x1b[2J"],
        ):
            done = run(*line)
            assert "\x1b" not in done.stdout + done.stderr
            assert r"\x1b[2J" in done.stdout + done.stderr, line
