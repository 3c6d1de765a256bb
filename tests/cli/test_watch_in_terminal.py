"""``pte-magic watch``: a line per change in a pipe, a picture that is drawn again in a terminal, and its end."""

from __future__ import annotations

import ctypes
import re
import signal
import subprocess

import pytest
from conftest import forked
from handmade import PAGE, NewMap
from typed_commands import ENVIRONMENT, terminal, words
from waiting import SECONDS


def test_a_pipe_gets_a_line_per_change_until_the_process_ends(new_map: NewMap) -> None:
    start = new_map(3 * PAGE)
    what = f"{start:#x}-{start + 3 * PAGE:#x}"
    ctypes.memset(start + 2 * PAGE, 1, PAGE)  # so each page has an entry of its own
    with forked(
        lambda: bool(ctypes.memset(start, 1, PAGE)), lambda: bool(ctypes.memset(start + PAGE, 1, PAGE))
    ) as child:
        line = words("watch", "--every", "0.02", child.pid, what)
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd="/"
        )
        assert process.stdout
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3}  first look: 3 entries", process.stdout.readline())
        for _ in range(2):
            child.step()
            assert re.match(r"\d\d:\d\d:\d\d\.\d{3}  1 of 3 entries changed: 1 ", process.stdout.readline())
    rest, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, rest) == (0, "")
    assert re.fullmatch(rf"pte-magic: stopped: pid {child.pid}: [^\n]+\n", errors)


def test_an_interrupt_ends_it_with_status_130(new_map: NewMap) -> None:
    start = new_map(PAGE)
    with forked() as child:
        line = words("watch", child.pid, f"{start:#x}-{start + PAGE:#x}")
        with subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd="/"
        ) as process:
            assert process.stdout
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=SECONDS) == ("", "")
    assert process.returncode == 130


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_is_drawn_again_in_its_width(new_map: NewMap, columns: int) -> None:
    start = new_map(2 * PAGE)
    what = f"{start:#x}-{start + 2 * PAGE:#x}"
    with forked(lambda: bool(ctypes.memset(start, 1, PAGE))) as child:
        with terminal("watch", "--every", "0.02", child.pid, what, columns=columns) as shown:
            shown.read_until("first look")
            child.step()
            shown.read_until("present")
            shown.process.send_signal(signal.SIGINT)
            text = shown.end()
        assert shown.process.returncode == 130
    drawings = re.split(r"\x1b\[(\d+)F\x1b\[J", text)
    assert len(drawings) >= 3
    for before, up in zip(drawings[::2], drawings[1::2], strict=False):
        assert before.count("\n") == int(up)  # so the next one is drawn over all of it
    cut = [line for drawing in drawings[:-1:2] for line in drawing.splitlines() if len(line) == columns]
    assert columns != 40 or all(line.endswith("…") for line in cut)
    assert cut or columns != 40
    assert "…" not in drawings[-1]
    assert "1 of 2 entries changed: 1 mapped" in " ".join(drawings[-1].split())
    assert all(len(line) <= columns for drawing in drawings[::2] for line in drawing.splitlines())
