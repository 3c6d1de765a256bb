"""What one user may take: connections by whose his uids are, lines of the log, and no signal of the administrator's."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, forked, needs_root
from serving import Helper, serving
from talking import Talker, opened, still_serves

from pte_magic.helper import journal, peer
from pte_magic.walkers.protocol import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_root

SUBUID = Path("/etc/subuid")
FIRST = 3_000_000_000
"""Of uids that are given to somebody for a test: nobody has these."""


@pytest.fixture
def given() -> Iterator[None]:
    """Give uids to the user nobody, as distributions do for containers."""
    before = SUBUID.read_bytes() if SUBUID.exists() else None
    with SUBUID.open("ab") as file:
        file.write(b"\xff broken line\nnobody:%d:1000\n%d:%d:10\n" % (FIRST, 12345, FIRST + 1000))
    yield
    if before is None:
        SUBUID.unlink()
    else:
        SUBUID.write_bytes(before)


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    ("uid", "account"),
    [(FIRST, NOBODY), (FIRST + 999, NOBODY), (NOBODY, NOBODY), (FIRST + 1000, 12345), (FIRST + 1010, FIRST + 1010)],
)
def test_a_subordinate_uid_is_of_the_account_it_is_given_to(uid: int, account: int) -> None:
    assert peer._account(uid) == account


@pytest.mark.usefixtures("given")
def test_who_has_many_uids_has_the_connections_of_one_user() -> None:
    def connect(uid: int) -> list[Status]:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(uid, uid, uid)
        talkers.extend(Talker(helper.path) for _ in range(4))
        return [Status(talker.status) for talker in talkers]

    talkers: list[Talker] = []  # of each child's
    with serving("--group", str(NOBODY), "--max-clients-per-user", "6") as helper, ExitStack() as stack:
        uids = [FIRST, FIRST + 5, NOBODY]
        children = [stack.enter_context(forked(partial(connect, uid))) for uid in uids]
        said = [child.step() for child in children]
        assert said == [[Status.OK] * 4, [Status.OK] * 2 + [Status.BUSY] * 2, [Status.BUSY] * 4]
        still_serves(helper.path)  # of another user, root


def test_a_flood_of_requests_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    flood = 3 * journal.AT_ONCE
    with serving() as helper:
        with opened() as fd, Talker(helper.path) as talker:
            for _ in range(flood):
                assert talker.ask(fd, 1 << 20).status == Status.OK
            lines = helper.log().splitlines()
            written = sum(" status OK" in line for line in lines)
            assert journal.AT_ONCE <= written < flood
            # Then there is room for a line again, which comes after one that says what is missing.
            while not (told := re.findall(r"uid 0: (\d+) lines were left out", helper.log())):
                talker.ask(fd, 1 << 20)
        written = helper.log().count(" status OK")
        assert 0 < sum(map(int, told)) <= flood
        assert written < flood


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_whatever_clients_threads_do(number: int) -> None:
    for _ in range(5):
        with serving() as helper, ExitStack() as stack:
            talkers = [stack.enter_context(Talker(helper.path)) for _ in range(8)]
            assert {talker.status for talker in talkers} == {Status.OK}
            threads = [int(task.name) for task in Path(f"/proc/{helper.pid}/task").iterdir()]
            blocked = {thread: _blocked(helper, thread) for thread in threads}
            assert {thread for thread, mask in blocked.items() if not mask >> (number - 1) & 1} == {helper.pid}
            assert helper.end(number) == 0


def _blocked(helper: Helper, thread: int) -> int:
    status = Path(f"/proc/{helper.pid}/task/{thread}/status").read_text(encoding="utf-8")
    found = re.search(r"^SigBlk:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert found
    return int(found[1], 16)
