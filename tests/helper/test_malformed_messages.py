"""Messages that are none: each gets an answer, and the helper is as before."""

from __future__ import annotations

import os
import random
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
from conftest import needs_root
from handmade import PAGE
from serving import SCALE
from talking import Talker, opened, request, still_serves, together
from waiting import wait_until

from pte_magic.linux import hardware
from pte_magic.walkers.helper_protocol import GO_ON, GREETING, MAGIC, MEMORY, REQUEST, VERSION, Status

if TYPE_CHECKING:
    from serving import Helper

pytestmark = needs_root

MESSAGES = int(1_000_000 * SCALE)
FUZZERS = 4
PIPELINED = 8  # messages sent before their answers are read: net.unix.max_dgram_qlen is 10 on old kernels


def test_the_greeting_says_what_it_is_and_brings_the_memory(served: Helper) -> None:
    with Talker(served.path) as talker:
        assert talker.greeting[:5] == (MAGIC, VERSION, Status.OK, 0, MEMORY)
        assert os.fstat(talker.memory).st_size == MEMORY
    assert GREETING.size == 32
    assert REQUEST.size == 32


END = hardware.user_limit()
MALFORMED = {
    "one byte": b"x",
    "truncated": request(PAGE)[:-1],
    "oversized": request(PAGE) + b"x",
    "very oversized": request(PAGE) * 4096,
    "unknown flag": request(PAGE, flags=4),
    "all flags": request(PAGE, flags=0xFFFF_FFFF),
    "empty range": request(PAGE, PAGE),
    "backwards": request(2 * PAGE, PAGE),
    "origin after start": request(PAGE, origin=2 * PAGE),
    "no whole page, start": request(PAGE + 1, 3 * PAGE, origin=PAGE),
    "no whole page, end": request(PAGE, 2 * PAGE + 8),
    "no whole page, origin": request(PAGE, origin=1),
    "past the end": request(END - PAGE, END + PAGE),
    "kernel": request(0xFFFF_8880_0000_0000),
    "wraps around": request((1 << 64) - PAGE, 0),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_message_is_answered_and_the_next_is_served(what: str, served: Helper) -> None:
    with opened() as fd, Talker(served.path) as talker:
        for _ in range(3):
            talker.send(MALFORMED[what], [fd])
            assert talker.answer()[1:5] == (Status.MALFORMED, 0, 0, 0)
            assert talker.ask(fd, END - PAGE).status == Status.OK


def test_a_request_without_a_descriptor_or_with_two_is_malformed(served: Helper) -> None:
    with opened() as fd, Talker(served.path) as talker:
        talker.send(request(PAGE))
        assert talker.answer().status == Status.MALFORMED
        talker.send(request(PAGE), [fd, fd])
        assert talker.answer().status == Status.MALFORMED


def test_going_on_takes_an_answer_to_go_on_from(served: Helper) -> None:
    with opened() as fd, Talker(served.path) as talker:
        assert talker.ask(fd, PAGE, flags=GO_ON).status == Status.MALFORMED
        assert talker.ask(fd, PAGE, 3 * PAGE).status == Status.OK
        assert talker.ask(fd, 0, 2 * PAGE, flags=GO_ON)[1:4] == (Status.OK, 0, 0)  # it has come further
        assert talker.ask(fd, 0, END + PAGE, flags=GO_ON).status == Status.MALFORMED
        assert talker.ask(fd, 0, END, flags=GO_ON).status == Status.MALFORMED


def test_another_version_is_told_which_this_one_is(served: Helper) -> None:
    with opened() as fd, Talker(served.path) as talker:
        for version in (0, VERSION + 1, 0xFFFF_FFFF):
            talker.send(request(PAGE, version=version), [fd])
            assert talker.answer()[:2] == (VERSION, Status.VERSION)


def test_an_empty_message_ends_the_connection(served: Helper) -> None:
    with Talker(served.path) as talker:
        talker.send(b"")
        with pytest.raises(EOFError):
            talker.answer()
    still_serves(served.path)


def test_who_shuts_down_its_half_is_forgotten(served: Helper) -> None:
    with Talker(served.path) as talker:
        wait_until(lambda: not served.alone())
        talker.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            talker.answer()
        wait_until(served.alone)


def noise(chance: random.Random) -> bytes:
    """Make a message: any bytes, or a request of which some bytes or one number is another."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 80))
    if kind == 1:
        message = bytearray(request(PAGE))
        for _ in range(chance.randrange(1, 4)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        return bytes(message)
    edges = (0, 1, PAGE, PAGE - 1, END, END - PAGE, 1 << 63, (1 << 64) - PAGE, (1 << 64) - 1, chance.getrandbits(64))
    origin, start, end = (chance.choice(edges) for _ in range(3))
    return REQUEST.pack(chance.choice((VERSION, chance.getrandbits(32))), chance.getrandbits(3), origin, start, end)


def fuzz(helper: Helper, seed: int, count: int) -> int:
    """Send noise, some of it with a descriptor; return how many answers came."""
    chance = random.Random(seed)  # noqa: S311
    answers = 0
    with opened() as fd, Talker(helper.path) as talker:
        for _ in range(count // PIPELINED):
            for _ in range(PIPELINED):
                talker.send(noise(chance), [fd] if chance.random() < 0.02 else [])
            for _ in range(PIPELINED):
                assert talker.answer().status in set(Status)
                answers += 1
    return answers


def test_a_million_random_messages_are_answered_and_the_helper_still_serves(served: Helper) -> None:
    """Its seeds are fixed: what fails once fails again."""
    files, said = served.descriptors(), len(served.log())
    answers = sum(together(*(partial(fuzz, served, seed, MESSAGES // FUZZERS) for seed in range(FUZZERS))))
    assert answers >= MESSAGES - FUZZERS * PIPELINED
    assert served.process.poll() is None
    still_serves(served.path)
    wait_until(lambda: served.alone() and served.descriptors() == files)
    assert len(served.log()) - said < 400 * (answers // 100)  # who sends noise does not fill the journal
