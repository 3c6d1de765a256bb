"""Clients of a helper that are killed in the middle of requests, while others compare their answers with pagemap."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
from children import GROUP, Children, chance_of, shared
from fuzzed_messages import FRAME
from handmade import PAGE, PM_PFN
from serving import serving
from talking import Talker, opened, request
from turn import WAIT
from waiting import wait_until

from pte_magic.walkers.helper_protocol import Status
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from turn import Turn

WHAT = "kill -9 of clients of a helper"
NEEDS_ROOT = "a helper that tells page frames"

CLIENTS, KILLS = 8, 30  # at a time, of a round
PAGES = 200


def ask(path: Path, array: NDArray[np.uint8], seed: int, counts: NDArray[np.int64]) -> None:
    """Ask for pages of one's own, at the address that all have in common, without an end."""
    chance, address = chance_of(seed), array.ctypes.data
    array[chance.sample(range(PAGES), chance.randrange(1, PAGES))] = chance.randrange(256)
    array[[0, -1]] = 1  # so each page has an entry, also if it lies in two page tables
    with opened() as fd:
        while True:
            signal.alarm(WAIT)
            with Talker(path) as talker:
                if talker.status == Status.BUSY:  # those that were killed are not forgotten yet
                    continue
                for _ in range(chance.randrange(1, 9)):
                    first, last = sorted(chance.sample(range(PAGES + 1), 2))
                    start, end = address + first * PAGE, address + last * PAGE
                    before = os.pread(fd, (last - first) * 8, start // PAGE * 8)
                    ahead = chance.randrange(6)
                    for _ahead in range(ahead + 1):
                        talker.send(request(start, end, origin=start), [fd])
                    for _ahead in range(ahead + 1):
                        answer = talker.answer()
                        assert (answer.status, answer.n_entries) == (Status.OK, last - first), answer
                    entries = np.array(talker.entries(last - first), np.uint64)
                    counts[0] += ahead + 1
                    if os.pread(fd, len(before), start // PAGE * 8) == before:
                        frames = np.frombuffer(before, np.uint64) & np.uint64(PM_PFN)
                        seen = np.where(entries & np.uint64(1), (entries & FRAME) // np.uint64(PAGE), 0)
                        assert (seen == frames).all(), (hex(start), frames, entries)
                        counts[1] += last - first


def attack(turn: Turn) -> None:
    options = ("--group", str(GROUP), "--frames", "0", "--max-clients-per-user", str(3 * CLIENTS))
    with serving(*options) as helper:
        files = helper.descriptors()
        for chance in turn.rounds():
            array, counts = private_mapping(PAGES), [shared(2) for _ in range(CLIENTS + KILLS)]
            started = iter(counts)
            with Children() as clients:
                for _ in range(CLIENTS):
                    clients.start(ask, helper.path, array, chance.getrandbits(32), next(started))
                for _ in range(KILLS):
                    time.sleep(chance.random() * 0.05)
                    clients.look()
                    clients.kill(chance.choice(clients.pids))
                    clients.start(ask, helper.path, array, chance.getrandbits(32), next(started))
                time.sleep(0.1)
                for pid in tuple(clients.pids):
                    clients.kill(pid)
            wait_until(
                lambda: helper.alone() and helper.descriptors() == files,
                instead=lambda: f"{helper.threads()} threads, {helper.descriptors()} descriptors, not {files}",
                seconds=WAIT,
            )
            assert helper.process.poll() is None, helper.log()[-3000:]
            assert "Traceback" not in helper.log(), helper.log()[-3000:]
            answers, compared = np.sum(counts, axis=0).tolist()
            turn.count(kills=KILLS + CLIENTS, answers=answers, pages_compared=compared)
