"""The tapset where nobody may wait: in the scheduler, with interrupts off, and in a timer's interrupt."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cells
import pytest
from conftest import forked
from handmade import ANONYMOUS, HUGE, NOHUGEPAGE, PAGE, PRIVATE, READ, SHARED, WRITE, NewMap, libc, munmap, read, write
from loaded import modules
from running_cells import interrupt, meanwhile, nothing_left_behind, run
from shells import Shell

from pte_magic.linux import hardware
from pte_magic.systemtap import toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

ATOMIC = cells.ATOMIC if hardware.machine() == "x86_64" else cells.ATOMIC_ELSEWHERE

if toolchain.cannot_load():
    pytest.skip(f"needs a guest of the lab: {toolchain.cannot_load()}", allow_module_level=True)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


@pytest.fixture(autouse=True)
def _nothing_is_left(shell: Shell) -> Iterator[None]:
    with nothing_left_behind(shell):
        yield


def test_entries_of_a_process_that_maps_and_unmaps(shell: Shell, new_map: NewMap) -> None:
    """An entry that is there all the time is found, or not looked at; the guest fails if the kernel complains."""
    address, stop = new_map(PAGE, advice=NOHUGEPAGE), new_map(PAGE, flags=SHARED | ANONYMOUS)
    write(address)
    rounds = 2000
    processors = sorted(os.sched_getaffinity(0))

    def storm() -> int:
        write(address)
        done = 0
        while not read(stop):
            # Wherever the timer's interrupt comes, at times it is this process that it interrupts.
            os.sched_setaffinity(0, {processors[done // 100 % len(processors)]})
            beside = libc.mmap(None, 4 * HUGE, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
            write(beside, 64 * PAGE)
            munmap(beside, 4 * HUGE)
            if done % 50 == 0 and (pid := os.fork()) == 0:
                os._exit(0)
            elif done % 50 == 0:
                os.waitpid(pid, 0)
            done += 1
            if done == rounds:
                write(stop, value=2)
        return done

    def act() -> None:
        child.step()
        interrupt()

    with forked(storm) as child:
        shell.ip.user_ns.update(child=child)
        with meanwhile(act, after=modules):
            cell = run(shell, ATOMIC, "-x child.pid", address=address)
    told = {name: int(count) for name, count in cell.result.iloc[0].items()}
    assert told["wrong"] == 0, told
    assert all(count > 0 for name, count in told.items() if name != "wrong"), told
