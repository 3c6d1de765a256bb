"""``%pte --watch``: what it shows, what its buttons do, and one line where the input is bad."""

from __future__ import annotations

import mmap
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from handmade import PAGE
from shells import Shell
from waiting import SECONDS, wait_until

from pte_magic.api.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


def test_the_magic_watches(shell: Shell) -> None:
    shell.ip.user_ns["m"] = mmap.mmap(-1, 4 * PAGE)
    cell = shell.run("%pte --watch --every 0.02 m")
    with cell.result:
        assert type(cell.result) is Watch
        assert "watch of m: 0 changes; looks every 0.02 s" in cell.out
        shell.ip.user_ns["m"][PAGE] = 1
        wait_until(lambda: len(cell.result.counts()) == 2)
        bundle, _ = cell.result._repr_mimebundle_()
        for text in bundle["text/plain"], bundle["text/html"]:
            assert "first look" in text
            assert "entries changed: 1 mapped" in text
            assert "present 4 KiB" in text
        view = cell.result._view
        assert view
        view.paused = True
        assert cell.result.paused
        view.running = False
        assert not cell.result.running
        assert '; <span class="pte-watch-state">stopped</span>' in view._content
    shell.ip.user_ns.pop("m").close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--watch --map a", "--map and --watch are different views; type one of them"),
        ("--every 2 a", "--every goes with --watch; type %pte --watch --every SECONDS TARGET"),
        ("--watch --every never a", "argument -e/--every: 'never' is not a number of seconds"),
        ("--watch --every 0.001 a", "every=0.001 is not a number of seconds; type one from 0.01 on"),
        ("--watch nonsense", "name 'nonsense' is not defined"),
    ],
)
def test_bad_input_is_one_line(shell: Shell, line: str, message: str) -> None:
    cell = shell.run(f"%pte {line}")
    assert message in cell.err
    assert len((cell.out + cell.err).strip().splitlines()) == 1


def test_unloading_stops_it(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.run("seen = %pte --watch a")
    seen = shell.ip.user_ns["seen"]
    assert seen.running
    shell.run("%unload_ext pte_magic")
    assert not seen.running
    assert not any(thread.name == "watch of a" for thread in threading.enumerate())


@contextmanager
def ipython(directory: Path, *, is_terminal: bool) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run IPython, which reads from a terminal, and writes to it or to a pipe; give the end for typing and reading."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--HistoryManager.enabled=False"]
    env = os.environ | {"TERM": "xterm", "IPYTHONDIR": str(directory)}
    out = theirs if is_terminal else subprocess.PIPE
    with subprocess.Popen(line, stdin=theirs, stdout=out, stderr=out, env=env, start_new_session=True) as process:
        os.close(theirs)
        try:
            yield ours, process
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_ipython_in_a_terminal_draws_it_until_it_is_interrupted(tmp_path: Path, *, is_terminal: bool) -> None:
    with ipython(tmp_path, is_terminal=is_terminal) as (typed, process):
        source = typed if is_terminal else process.stdout.fileno()  # type: ignore[union-attr]  # there is one then
        seen = ""

        def until(what: str) -> None:
            nonlocal seen
            while what not in seen:
                assert select.select([source], [], [], SECONDS)[0], seen
                seen += os.read(source, 1 << 16).decode()

        os.write(typed, b"import mmap, threading; m = mmap.mmap(-1, 4 * mmap.PAGESIZE)\n%load_ext pte_magic\n")
        os.write(typed, b"later = threading.Event()\n")
        os.write(typed, b"t = threading.Thread(target=lambda: (later.wait(), m.__setitem__(mmap.PAGESIZE, 1)))\n")
        os.write(typed, b"t.start()\nthreading.Timer(1, later.set).start()\n%pte --watch --every 0.02 m\n")
        until("first look: ")
        until("entries changed: 1 mapped")
        process.send_signal(signal.SIGINT)
        until("watch of m: 1 change; stopped")
        assert ("\x1b[J" in seen) == is_terminal
        after = seen.rpartition("\x1b[J")[2] if is_terminal else seen
        assert re.match(r"(watch of m: 1 change; stopped\r?\n)", after[after.index("watch of m: 1") :])
        os.write(typed, b"len(_.counts()), 'looks'\n")
        until("(2, 'looks')")
        stays = seen.rpartition("\x1b[J")[2] if is_terminal else seen
        assert re.search(r"first look: .*entries changed: 1 mapped", stays, re.DOTALL)
        assert ("least" in stays) == is_terminal  # the table below the log
