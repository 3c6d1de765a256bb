"""A plugin of pytest: when a test takes too long, it tells where every thread of every process is, and ends the run.

SystemTap's programs end with Python, so they are looked at before.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

SECONDS = 1200
_output = os.fdopen(os.dup(2), "w", encoding="utf-8")  # pytest takes the other one away while a test runs
atexit.register(_output.close)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    timer = threading.Timer(SECONDS, _end, (item.nodeid,))
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def _end(name: str) -> None:
    try:
        print(f"\n{name} takes more than {SECONDS} s", file=_output)
        faulthandler.dump_traceback(_output)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                if words := (process / "cmdline").read_bytes():  # else it is the kernel's own
                    print(f"== {process.name} {words.replace(bytes(1), b' ').decode()}", file=_output)
                    _tell(process)
        print(f"== modules\n{Path('/proc/modules').read_text(encoding='ascii')}", file=_output, flush=True)
    finally:
        os._exit(3)


def _tell(process: Path) -> None:
    lines = (process / "status").read_text(encoding="utf-8").splitlines()
    print(*(line for line in lines if line.startswith(("State", "Sig", "ShdPnd"))), sep="  ", file=_output)
    for thread in process.glob("task/*"):
        wchan, call, stack = ((thread / name).read_text(encoding="ascii") for name in ("wchan", "syscall", "stack"))
        print(f"-- {thread.name} in {wchan}, system call {call}{stack}", end="", file=_output)
