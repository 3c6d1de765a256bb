"""Cells of SystemTap that are ended: by an interrupt, at any moment, by the time, or by kill -9."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import cells
import pytest
from loaded import programs
from running_cells import Clock, interrupt, meanwhile, nothing_left_behind, run, ticks
from shells import Shell

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


def test_an_interrupt_ends_the_script_and_returns_what_it_printed(shell: Shell) -> None:
    clock = Clock()
    shell.ip.user_ns["times"] = 0
    with meanwhile(interrupt, after=lambda: "\n2\n" in clock.text()):
        done = clock.run(shell)
    assert done.success
    assert ticks(done.result) >= 2
    assert done.result.splitlines() == clock.text().splitlines()[: len(done.result.splitlines())]


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6, 1.0])
def test_an_interrupt_while_the_module_is_loaded(shell: Shell, seconds: float) -> None:
    def act() -> None:
        time.sleep(seconds)
        interrupt()

    with meanwhile(act, after=programs):
        cell = run(shell, cells.COUNT, times=0)
    assert type(cell.result).__name__ == "Output", cell
    assert cell.err == ""


def test_many_interrupts_end_it_at_once(shell: Shell) -> None:
    clock = Clock()

    def act() -> None:
        for _ in range(5):
            interrupt()
            time.sleep(0.1)

    shell.ip.user_ns["times"] = 0
    with meanwhile(act, after=lambda: "\n2\n" in clock.text()):
        done = clock.run(shell)
    assert done.success
    assert done.result.startswith(f"target {os.getpid()}\n1\n2\n")


def test_time_is_up(shell: Shell) -> None:
    cell = run(shell, cells.COUNT, "-T 1.5", times=0)  # it would count forever
    assert ticks(cell.result) >= 1
    assert cell.err == ""


def test_stapio_is_killed(shell: Shell) -> None:
    clock = Clock()

    def act() -> None:
        for pid in programs():
            os.kill(pid, signal.SIGKILL)

    shell.ip.user_ns["times"] = 0
    with meanwhile(act, after=lambda: "\n2\n" in clock.text()):
        done = clock.run(shell, "-o kept")
    assert str(done.error_in_exec) == "staprun was ended by signal 9; its module was unloaded"
    assert shell.ip.user_ns["kept"].startswith(f"target {os.getpid()}\n1\n2\n")
