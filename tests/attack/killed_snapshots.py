"""Snapshots that are killed or interrupted at any moment: what is left is whole files, which load as they should."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from turn import WAIT

import pte_magic
from pte_magic.errors import TargetError
from pte_magic.workloads.forked_process import Forked

if TYPE_CHECKING:
    from turn import Turn

WHAT = "kill -9 and interrupts of snapshot()"
NEEDS_ROOT = ""

PROCESSES, KILLS = 4, 10  # that are written; of a round
COLUMNS = ["pid", "vaddr", "size", "level"]


def write(path: Path, pids: list[int]) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pte_magic.snapshot(path, pids)
    except KeyboardInterrupt:
        os._exit(3)
    os._exit(0)


def left(top: Path, whole: pd.DataFrame, *, killed: bool) -> dict[str, float]:
    """Fail if something is left but whole files, and, after a kill, one unfinished one a process; count the files."""
    files = [file for file in top.rglob("*") if not file.is_dir()]
    parts = [file for file in files if file.name == "part-0.parquet"]
    others = [file.name for file in files if file not in parts]
    assert all(killed and name.startswith(".") and name.endswith(".tmp") for name in others), others
    if not killed:
        empty = [place for place in top.rglob("*") if place.is_dir() and not list(place.iterdir())]
        assert not empty, empty
    if not parts:
        if (top / "new").exists():
            try:
                pte_magic.load(top / "new")
            except TargetError as error:
                assert len(str(error).splitlines()) == 1, str(error)  # noqa: PT017  (it has to be refused)
            else:
                raise AssertionError(files)
        return {"files": 0, "unfinished": len(others)}
    found = pte_magic.load(top / "new").frame()
    told = whole[whole["pid"].isin(found["pid"].unique())].reset_index(drop=True)
    assert found["pid"].nunique() == len(parts), (len(parts), found["pid"].unique())
    pd.testing.assert_frame_equal(pd.DataFrame(found)[COLUMNS], pd.DataFrame(told)[COLUMNS])
    return {"files": len(parts), "rows": len(found), "unfinished": len(others)}


def attack(turn: Turn) -> None:
    with tempfile.TemporaryDirectory(prefix="pte-magic-attack-") as name, ExitStack() as stack:
        pids = []
        for _ in range(PROCESSES):
            process = stack.enter_context(subprocess.Popen(["sleep", "6000"]))
            stack.callback(process.kill)
            pids.append(process.pid)
        time.sleep(0.5)  # they have begun to sleep
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        pte_magic.snapshot(Path(name) / "whole", pids)
        begun = time.monotonic()
        pte_magic.snapshot(Path(name) / "again", pids)  # now that everything is imported
        longest = 3 * (time.monotonic() - begun) + 0.1  # as a child makes its own walker
        whole = pte_magic.load(Path(name) / "whole").frame()
        for chance in turn.rounds():
            for number in range(KILLS):
                top, how = Path(name) / str(number), chance.choice((signal.SIGKILL, signal.SIGINT))
                top.mkdir()
                with Forked(write, inherits_files=True) as child:
                    child._ours.send((top / "new", pids))
                    time.sleep(chance.random() * longest)
                    os.kill(child.pid, how)
                    ended = _wait(child.pid)
                turn.count(**{{-signal.SIGKILL: "kills", 3: "interrupts"}.get(ended, "not_in_time"): 1})
                assert ended in {-signal.SIGKILL, 0, 3}, ended
                turn.count(**left(top, whole, killed=how == signal.SIGKILL))
                shutil.rmtree(top)


def _wait(pid: int) -> int:
    """Wait for the end of a child; return how it was."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    message = f"the child has not ended for {WAIT} s"
    raise AssertionError(message)
