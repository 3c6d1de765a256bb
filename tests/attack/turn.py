"""One turn of an attack, in a process of its own: `attack.py` starts it, and reads what it counted from its output.

Each round has a seed, the number after that of the round before, so any of them can be repeated by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import importlib
import itertools
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / part) for part in ("", "helper", "walkers", "formats", "api", "api/snapshots", "vm/guest")]

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 120
"""Seconds that an answer may take while others attack, on a machine that is busy."""
NOT_THERE = "what was to be broken is not there"
_DATA = 4 << 30
"""Bytes of memory that can be written to, of each process of a turn."""


class Turn:
    """What an attack needs to know, and where it counts.

    Attributes:
        counts: What was done so far, by name, in the order of counting. A name with "most" is not added up.
        seed: Of the round that is under way.

    """

    def __init__(self, seed: int, seconds: float, rounds: int) -> None:
        self.counts: Counter[str] = Counter()
        self.seed = self._first = seed
        self._until = time.monotonic() + seconds
        self._rounds = rounds

    def rounds(self) -> Iterator[random.Random]:
        """Give each round its own source of chance; there is one round at least, and no new one when time is over."""
        for number in itertools.count():
            if number and (number == self._rounds or time.monotonic() > self._until):
                return
            self.seed = self._first + number
            yield random.Random(self.seed)  # noqa: S311  (it has to be the same again)

    def count(self, **counts: float) -> None:
        """Add to what was done."""
        for name, number in counts.items():
            self.counts[name] = max(self.counts[name], number) if "most" in name else self.counts[name] + number  # type: ignore[assignment]


def broken(attack: str, stack: contextlib.ExitStack) -> None:
    """Break what an attack has to find; it is no alarm of the attack if that fails."""
    try:
        importlib.import_module("breaking").apply(attack, stack)
    except Exception as error:
        raise LookupError(NOT_THERE) from error


def main() -> None:
    """Attack; print what was counted, and what went wrong if anything did, as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("attack")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--bench", type=int, default=0, help="pid of the bench, without which there is no turn")
    parser.add_argument("--broken", action="store_true")
    told = parser.parse_args()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: the bench may be killed
    if told.bench not in {0, os.getppid()}:  # it was before that
        return
    faulthandler.enable()  # who hangs is asked by SIGABRT where
    faulthandler.register(signal.SIGALRM, chain=True)  # and so do children that an alarm ends
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # if memory is short, this goes first
    result = os.dup(1)
    os.dup2(2, 1)  # what is printed is no result
    turn, alarm = Turn(told.seed, told.seconds, told.rounds), ""
    try:
        attack = importlib.import_module(told.attack)
        with contextlib.ExitStack() as stack:
            if told.broken:
                broken(told.attack, stack)
            attack.attack(turn)
    except BaseException:  # noqa: BLE001  (whatever it is, it was not to happen)
        alarm = traceback.format_exc()
    os.write(result, json.dumps({"counts": turn.counts, "seed": turn.seed, "alarm": alarm}).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # without waiting for what an attack has left, after it was told


if __name__ == "__main__":
    main()
