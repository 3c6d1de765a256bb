"""A helper that is killed or ended, and started again, at any moment, under clients that go on asking."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from children import Children, chance_of, shared
from handmade import PAGE, PM_PFN, PM_PRESENT, words
from serving import serving
from turn import WAIT
from waiting import wait_until

import pte_magic
from pte_magic.errors import WalkerUnavailableError
from pte_magic.walkers import helper_client as client
from pte_magic.walkers.helper_protocol import VARIABLE
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from turn import Turn

WHAT = "restarts of a helper under its clients"
NEEDS_ROOT = "a helper that tells page frames"

CLIENTS, RESTARTS, PAGES = 3, 2, 1 << 10
RIGHT, REFUSED = range(2)


def ask(array: NDArray[np.uint8], seed: int, counts: NDArray[np.int64]) -> None:
    """Walk one's own memory without an end: what is seen is right, or is refused in one line."""
    chance, address = chance_of(seed), array.ctypes.data
    array[::2] = array[-1] = 1  # so there are tables of all of it
    client._MUCH = chance.choice((0, 1 << 60))  # whether the next answer is asked for ahead
    while True:
        signal.alarm(2 * WAIT)
        first, last = sorted(chance.sample(range(PAGES + 1), 2))
        start, end = address + first * PAGE, address + last * PAGE
        before = words(start, end - start)
        try:
            if chance.random() < 0.5:
                found = pte_magic.walk(start, end, walker="helper")
                frames, at = found["pfn"].fillna(0).to_numpy(np.uint64), found["vaddr"].to_numpy()
            else:
                pieces = list(pte_magic.stream(start, end, walker="helper", rows=100))
                frames = np.concatenate([one["pfn"].fillna(0).to_numpy(np.uint64) for one in pieces])
                at = np.concatenate([one["vaddr"].to_numpy() for one in pieces])
        except WalkerUnavailableError as error:
            assert len(str(error).splitlines()) == 1, str(error)  # noqa: PT017  (either)
            counts[REFUSED] += 1
            time.sleep(0.01)
            continue
        assert (at == np.arange(start, end, PAGE, dtype=np.uint64)).all(), at
        if (words(start, end - start) == before).all():
            told = np.where(before & np.uint64(PM_PRESENT), before & np.uint64(PM_PFN), 0)
            assert (frames == told).all(), (frames, told)
            counts[RIGHT] += 1


def go_on(clients: Children, counts: list[NDArray[np.int64]], before: list[int]) -> bool:
    """Tell whether each client has had a right answer more."""
    clients.look()
    return all(one[RIGHT] > was for one, was in zip(counts, before, strict=True))


def attack(turn: Turn) -> None:
    with serving("--frames", "0") as helper:
        os.environ[VARIABLE] = str(helper.path)
        for chance in turn.rounds():
            array, counts = private_mapping(PAGES), [shared(2) for _ in range(CLIENTS)]
            with Children() as clients:
                for mine in counts:
                    clients.start(ask, array, chance.getrandbits(32), mine)
                for _ in range(RESTARTS):
                    time.sleep(chance.random())
                    helper.end(chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
                    time.sleep(chance.random() / 4)
                    helper.start()
                    wait_until(partial(go_on, clients, counts, [int(one[RIGHT]) for one in counts]), seconds=WAIT)
            right, refused = np.sum(counts, axis=0).tolist()
            turn.count(restarts=RESTARTS, right_walks=right, refused_walks=refused)
