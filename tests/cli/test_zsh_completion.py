"""Completion in an interactive zsh, with the lines of docs/command-line.md in its .zshrc."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import forked
from waiting import SECONDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "command-line.md"
ESCAPE = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
READY, LISTED, TAB, DONE = "READY> ", "LISTED", b"\t", b"\x07"

pytestmark = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")

# The key DONE writes the line as it is then, and the list of what is offered is on the screen before.
_KEY = f"""
PROMPT={shlex.quote(READY)}
LISTMAX=1000
written() {{ print -rn -- "$BUFFER" > $ZDOTDIR/line; print {LISTED}; exit }}
zle -N written
bindkey '^G' written
"""


def completed(line: str, directory: Path) -> tuple[str, str]:
    """Type a line and Tab; return what the line is then, and all that zsh wrote to the terminal."""
    (lines,) = re.findall(r"~/\.zshrc.*?```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (directory / ".zshrc").write_text(lines + _KEY, encoding="utf-8")
    command = directory / "pte-magic"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pte_magic "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    path = f"{directory}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "ZDOTDIR": str(directory), "TERM": "xterm", "COLUMNS": "80"}
    ours, theirs = pty.openpty()
    zsh = subprocess.Popen(["zsh", "-d", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=directory,
                           start_new_session=True)  # fmt: skip
    os.close(theirs)
    seen = ""

    def read_until(what: str) -> None:
        nonlocal seen
        while what not in seen:
            assert select.select([ours], [], [], SECONDS)[0], seen
            try:
                seen += os.read(ours, 1 << 16).decode(errors="replace")
            except OSError:  # it has ended
                assert what in seen, seen

    try:
        read_until(READY)
        os.write(ours, line.encode() + TAB + DONE)
        read_until(LISTED)
    finally:
        zsh.kill()
        zsh.wait()
        os.close(ours)
    return (directory / "line").read_text(encoding="utf-8"), seen


def test_a_command_an_option_and_a_value_are_completed(tmp_path: Path) -> None:
    assert completed("pte-magic summa", tmp_path)[0].rstrip() == "pte-magic summary"
    assert completed("pte-magic show --ru", tmp_path)[0].rstrip() == "pte-magic show --runs"
    assert completed("pte-magic decode --color al", tmp_path)[0].rstrip() == "pte-magic decode --color always"


def test_what_can_follow_is_listed(tmp_path: Path) -> None:
    line, seen = completed("pte-magic s", tmp_path)
    assert line == "pte-magic s"
    assert {"show", "summary", "snapshot", "serve"} <= set(re.findall(r"\w+", ESCAPE.sub(" ", seen)))


def test_a_process_and_its_region_are_completed(tmp_path: Path) -> None:
    with forked() as child:
        line, seen = completed(f"pte-magic show {str(child.pid)[:-1]}", tmp_path)
        assert str(child.pid) in line + seen
        line, _ = completed(f"pte-magic summary {child.pid} \\[sta", tmp_path)
        assert line.replace("\\", "").rstrip() == f"pte-magic summary {child.pid} [stack]"
