"""Messages of all kinds to a real helper, with descriptors of all kinds, while others ask it for their own memory."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import numpy as np
from children import GROUP, Children, be, chance_of, shared
from conftest import NOBODY
from handmade import PAGE, PM_PFN
from sent import LINGERING, PAGEMAPS, Sent
from serving import serving
from talking import Answer, Talker, opened, request
from test_malformed_messages import noise
from turn import WAIT
from waiting import wait_until

from pte_magic.walkers.entries import SPAN
from pte_magic.walkers.helper_protocol import AREAS, GO_ON, TABLES, Status
from pte_magic.walkers.shared_memory import SPANS_AT
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from numpy.typing import NDArray
    from serving import Helper
    from turn import Turn

WHAT = "fuzzed messages to a helper, with descriptors"
NEEDS_ROOT = "several users, and a helper that reads raw entries"

FUZZERS, BYSTANDERS = (0, NOBODY, 54321), (54322, 54323)
CONNECTIONS = 25  # of each fuzzer in a round
PIPELINED = 8  # messages sent before their answers are read: net.unix.max_dgram_qlen is 10 on old kernels
PAGES = 64
FRAME = np.uint64(0x000F_FFFF_FFFF_F000)
GROWTH = 24 << 20
"""Bytes that the helper may grow by after the first round, however long a turn is."""
SENT, ANSWERS, DESCRIPTORS, CONNECTED, KINDS, SERVED, SLOWEST, SLOTS = range(8)


class Fuzzer:
    """A client that means ill, of some user."""

    def __init__(self, path: Path, chance: random.Random, counts: NDArray[np.int64], *, sees_frames: bool) -> None:
        self._path, self._chance, self._counts, self._sees_frames = path, chance, counts, sees_frames
        self._array = private_mapping(PAGES)
        self._array[::2] = 1

    def attack(self) -> None:
        with Sent() as self._sent:
            self._names = [*self._sent.of_kind]
            self._counts[KINDS] = len(self._names) + 1
            for _ in range(CONNECTIONS):
                signal.alarm(WAIT)  # which ends this process
                if self._chance.random() < 0.2:
                    self._leave_behind()
                if self._chance.random() < 0.1:
                    self._be_refused()
                with Talker(self._path) as talker:
                    if talker.status == Status.OK:
                        self._counts[CONNECTED] += 1
                        self._talk(talker)
                    else:  # its own earlier connections have not ended yet
                        assert talker.status == Status.BUSY, talker.greeting
                        time.sleep(0.05)
            signal.alarm(0)

    def _talk(self, talker: Talker) -> None:
        """Send messages, read some of the answers, and leave in some way."""
        chance = self._chance
        self._waiting = waiting = deque[tuple[bytes, list[str]]]()
        for _ in range(chance.randrange(1, 40)):
            message, kinds = self._message(), self._kinds()
            if not self._send(talker, message, kinds):
                break
            waiting.append((message, kinds))
            while waiting and (len(waiting) >= PIPELINED or chance.random() < 0.3):
                self._read(talker, *waiting.popleft())
        end = chance.randrange(4)
        if end == 0:
            while waiting:
                self._read(talker, *waiting.popleft())
        elif end == 1:
            talker.socket.shutdown(chance.choice((socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR)))
        elif end == 2:
            self._send(talker, b"", [])
            self._send(talker, b"x", self._kinds())
        else:  # only now, as it would have this client itself wait for the next answer
            self._send(talker, self._message(), [LINGERING])

    def _leave_behind(self) -> None:
        """Connect, and be gone: the last message has the only reference to a descriptor whose closing waits."""
        made, is_first = self._sent.lingering(), self._chance.random() < 0.5
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection, suppress(OSError):
            connection.connect(str(self._path))  # from now on the helper may be faster
            if not is_first:
                connection.send(b"")
            socket.send_fds(connection, [b"x"], [made.fileno()])
            self._counts[SENT] += 1
        threading.Thread(target=made.close, daemon=True).start()

    def _be_refused(self) -> None:
        """Have all connections that a user may have, and leave the same behind in those that are too many."""
        with ExitStack() as stack:
            while stack.enter_context(Talker(self._path)).status == Status.OK:
                self._counts[CONNECTED] += 1
            for _ in range(5):
                self._leave_behind()

    def _message(self) -> bytes:
        """Make a message: any, or a request for memory of this process that is well-formed."""
        if self._chance.random() < 0.5:
            return noise(self._chance)
        first, last = sorted(self._chance.sample(range(PAGES + 1), 2))
        start = self._array.ctypes.data
        return request(
            start + first * PAGE, start + last * PAGE,
            flags=self._chance.choice((0, 0, TABLES, GO_ON, TABLES | GO_ON)), origin=start,
        )  # fmt: skip

    def _kinds(self) -> list[str]:
        count = self._chance.choice((0, 1, 1, 1, 1, 2, 5, 100 if self._chance.random() < 0.1 else 1))
        if count == 1 and self._chance.random() < 0.5:
            return ["own pagemap"]
        return self._chance.choices(self._names, k=count)

    def _send(self, talker: Talker, message: bytes, kinds: list[str]) -> bool:
        made = [self._sent.lingering() for kind in kinds if kind == LINGERING]
        fds = [self._sent.of_kind[kind] for kind in kinds if kind != LINGERING] + [one.fileno() for one in made]
        try:
            talker.send(message, fds)
        except OSError:  # it is gone, or this kind cannot be sent
            return False
        finally:
            for one in made:  # if it was not sent, or is closed there already, this waits
                threading.Thread(target=one.close, daemon=True).start()
        self._counts[SENT] += 1
        self._counts[DESCRIPTORS] += len(fds)
        return True

    def _read(self, talker: Talker, message: bytes, kinds: list[str]) -> None:
        answer = talker.answer()
        self._counts[ANSWERS] += 1
        assert answer.status in set(Status), answer
        if answer.status != Status.OK:
            assert not answer.n_entries, answer
            return
        assert len(kinds) == 1, (message, kinds)
        if not answer.n_entries:  # the answer before had all that this one goes on with: no descriptor is looked at
            return
        assert kinds[0] in PAGEMAPS, (message, kinds, answer)
        assert answer.at in AREAS, answer
        if kinds == ["own pagemap"]:
            self._look(talker, answer, message)

    def _look(self, talker: Talker, answer: Answer, message: bytes) -> None:
        """Fail if an answer has page frames that this user may not see, or its spans are of other entries."""
        if not self._waiting:  # else the answer after the next one may have been written to the same place
            spans = os.pread(talker.memory, answer.n_spans * SPAN.itemsize, answer.at + SPANS_AT)
            assert int(np.frombuffer(spans, SPAN)["count"].sum(dtype=np.int64)) == answer.n_entries, message
        if not self._sees_frames:
            entries = np.array(talker.entries(answer.n_entries, answer.at), np.uint64)
            assert not (entries & FRAME).any(), message


def fuzz(path: Path, seed: int, user: int, counts: NDArray[np.int64]) -> None:
    be(user, *([0] if user == 0 else []))
    Fuzzer(path, chance_of(seed), counts, sees_frames=user == 0).attack()


def stand_by(path: Path, user: int, ended: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """Ask for memory of one's own, and compare it with what pagemap told root, until the others have ended."""
    array = private_mapping(PAGES)
    address = array.ctypes.data
    array[[0, -1]] = 1  # so there are tables of all of it
    with opened() as told:
        be(user, 0)  # a member of the group that sees frames
        for number in iter(lambda: None if ended[0] else 1, None):
            signal.alarm(WAIT)
            begun = time.monotonic()
            array[int(counts[SERVED]) % PAGES] = number
            with opened() as fd, Talker(path) as talker:
                assert talker.status == Status.OK, talker.greeting
                for _ in range(10):
                    before = os.pread(told, PAGES * 8, address // PAGE * 8)
                    answer = talker.ask(fd, address, address + PAGES * PAGE)
                    assert (answer.status, answer.n_entries) == (Status.OK, PAGES), answer
                    entries = np.array(talker.entries(PAGES), np.uint64)
                    if os.pread(told, PAGES * 8, address // PAGE * 8) == before:
                        frames = np.frombuffer(before, np.uint64) & np.uint64(PM_PFN)
                        seen = np.where(entries & np.uint64(1), (entries & FRAME) // np.uint64(PAGE), 0)
                        assert (seen == frames).all(), (frames, entries)
                        counts[SERVED] += 1
            counts[SLOWEST] = max(counts[SLOWEST], int((time.monotonic() - begun) * 1e6))
        signal.alarm(0)


def attack(turn: Turn) -> None:
    with serving("--group", str(GROUP), "--frames", "0") as helper:
        files, memory = helper.descriptors(), 0
        for chance in turn.rounds():
            ended, counts = shared(1), [shared(SLOTS) for _ in range(len(FUZZERS) + len(BYSTANDERS))]
            with Children() as others, Children() as fuzzers:
                for user, mine in zip(BYSTANDERS, counts, strict=False):
                    others.start(stand_by, helper.path, user, ended, mine)
                for user, mine in zip(FUZZERS, counts[len(BYSTANDERS) :], strict=True):
                    fuzzers.start(fuzz, helper.path, chance.getrandbits(32), user, mine)
                while fuzzers.pids:
                    fuzzers.look()
                    others.look()
                    time.sleep(0.02)
                ended[0] = 1
                others.join(WAIT)
            wait_until(
                lambda: helper.alone() and helper.descriptors() == files,
                instead=lambda: f"{helper.threads()} threads, {helper.descriptors()} descriptors, not {files}",
                seconds=WAIT,
            )
            memory = judge(helper, memory)
            total = Counter(dict(enumerate(np.sum(counts, axis=0).tolist())))
            turn.count(
                messages=total[SENT], answers=total[ANSWERS], connections=total[CONNECTED],
                descriptors=total[DESCRIPTORS], most_kinds=max(int(one[KINDS]) for one in counts),
                right_answers_of_others=total[SERVED],
                most_ms_of_others=max(int(one[SLOWEST]) for one in counts) // 1000,
                most_kB_of_growth=(helper.resident() - memory) // 1000,
            )  # fmt: skip


def judge(helper: Helper, memory: int) -> int:
    """Fail if the helper is not as before; return its memory, that after the first round."""
    assert helper.process.poll() is None, helper.log()[-3000:]
    assert "Traceback" not in helper.log(), helper.log()[-3000:]
    memory = memory or helper.resident()
    assert helper.resident() < memory + GROWTH, f"{helper.resident()} bytes after {memory}"
    return memory
