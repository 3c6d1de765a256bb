"""No attack: what can go wrong with a turn, for tests of the bench."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turn import Turn

WHAT = "turns that go wrong"
NEEDS_ROOT = ""
RAISES, HANGS, DIES = 100, 200, 300
"""What a turn that begins with this seed does, the first of them after a few rounds."""


def attack(turn: Turn) -> None:
    for _ in turn.rounds():
        turn.count(rounds=1)
        if turn.seed == DIES:
            os.kill(os.getpid(), signal.SIGSEGV)
        elif turn.seed >= HANGS:
            time.sleep(3600)
        elif turn.seed > RAISES + 5:
            message = "seen in the seventh round"
            raise ValueError(message)
