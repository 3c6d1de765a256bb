"""Runs cells of ``%%stap`` in a real shell, and does something else meanwhile."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import cells
from conftest import descriptors
from loaded import modules, wait_until_nothing_is_left
from waiting import wait_until

from pte_magic import walkers
from pte_magic.linux.address_space import own
from pte_magic.systemtap import module_cache as compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shells import Cell, Shell


@contextmanager
def nothing_left_behind(shell: Shell) -> Iterator[None]:
    """Fail if what happened in a cell left a module, a program, an open file or another handler of interrupts."""
    walkers.close()
    own()  # a descriptor that is kept
    shell.run("pass")
    assert not modules()
    before = descriptors()
    yield
    walkers.close()
    wait_until_nothing_is_left()
    assert descriptors() == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def run(shell: Shell, cell: cells.Cell, options: str = "", **names: object) -> Cell:
    shell.ip.user_ns.update(names)
    must_be_compiled(cell)
    return shell.run(cell.typed(options))


def must_be_compiled(cell: cells.Cell) -> None:
    assert compiled.kept(cell.script()), "a guest takes minutes to compile a cell; precompile.py does it outside"


@contextmanager
def meanwhile(act: Callable[[], object], *, after: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread as soon as something is the case, while the shell is busy with a cell.

    What goes wrong there ends the cell, and is raised here: nobody else would interrupt it.
    """
    wrong: list[BaseException] = []

    def wait() -> None:
        try:
            wait_until(after)
            act()
        except BaseException as error:  # noqa: BLE001  (raised below)
            wrong.append(error)
            interrupt()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if wrong:
            raise wrong[0]


def interrupt() -> None:
    """Do what Kernel -> Interrupt does."""
    os.kill(os.getpid(), signal.SIGINT)


class Clock(io.TextIOBase):
    """Stands for stdout; tells when what came."""

    def __init__(self) -> None:
        self.came: list[tuple[float, str]] = []

    def write(self, text: str) -> int:
        self.came.append((time.monotonic(), text))
        return len(text)

    def text(self) -> str:
        return "".join(text for _, text in self.came)

    def run(self, shell: Shell, options: str = "", cell: cells.Cell = cells.COUNT) -> Any:
        """Run a cell, while this is stdout."""
        must_be_compiled(cell)
        with redirect_stdout(self):
            return shell.ip.run_cell(cell.typed(options))


def ticks(text: str) -> int:
    """Return how far the script counted; fail if it printed anything else than it should."""
    last = text.count("\n") - 2
    assert text == counted(last), text
    return last


def counted(last: int, target: int | None = None) -> str:
    numbers = "".join(f"{number}\n" for number in range(1, last + 1))
    return f"target {target or os.getpid()}\n{numbers}the end\n"
