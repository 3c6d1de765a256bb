"""What one user may take: connections by whose his uids are, lines of the log, and no signal of the administrator's."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from conftest import NOBODY, forked, lacking, needs_root, python
from serving import Helper, serving
from talking import Talker, opened, still_serves
from waiting import SECONDS

from pte_magic.helper import journal
from pte_magic.walkers.helper_protocol import Status

pytestmark = needs_root

SUBUID = Path("/etc/subuid")
FIRST = 3_000_000_000
"""Of uids that are given to somebody for a test: nobody has these."""


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """Words before a command: for it, uids are given to the user nobody, as distributions do for containers.

    The file of this machine stays as it is: the command has a mount namespace of its own.
    """
    if not SUBUID.exists():
        lacking(f"needs {SUBUID}, as Debian has it")
    more = b"\xff broken line\nnobody:%d:1000\n%d:%d:10\n" % (FIRST, 12345, FIRST + 1000)
    (tmp_path / "subuid").write_bytes(SUBUID.read_bytes() + more)
    inside = f'mount --bind "$0" {SUBUID} && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", inside, str(tmp_path / "subuid"))


def test_a_subordinate_uid_is_of_the_account_it_is_given_to(given: tuple[str, ...]) -> None:
    accounts = {FIRST: NOBODY, FIRST + 999: NOBODY, NOBODY: NOBODY, FIRST + 1000: 12345, FIRST + 1010: FIRST + 1010}
    code = f"from pte_magic.helper import peer; print({{uid: peer._account(uid) for uid in {[*accounts]}}})"
    assert python(code, *given) == str(accounts)


def test_who_has_many_uids_has_the_connections_of_one_user(given: tuple[str, ...]) -> None:
    def connect(uid: int) -> list[Status]:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(uid, uid, uid)
        talkers.extend(Talker(helper.path) for _ in range(4))
        return [Status(talker.status) for talker in talkers]

    talkers: list[Talker] = []  # of each child's
    options = ("--group", str(NOBODY), "--max-clients-per-user", "6")
    with serving(*options, before=given) as helper, ExitStack() as stack:
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
            until = time.monotonic() + SECONDS
            while not (told := re.findall(r"uid 0: (\d+) lines were dropped", helper.log())):
                assert time.monotonic() < until
                talker.ask(fd, 1 << 20)
        written = helper.log().count(" status OK")
        assert 0 < sum(map(int, told)) <= flood
        assert written < flood


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_whatever_clients_threads_do(number: int) -> None:
    with serving() as helper, ExitStack() as stack:
        talkers = [stack.enter_context(Talker(helper.path)) for _ in range(8)]
        assert {talker.status for talker in talkers} == {Status.OK}
        threads = [int(task.name) for task in Path(f"/proc/{helper.pid}/task").iterdir()]
        assert len(threads) == 1 + len(talkers)
        blocked = {thread: _blocked(helper, thread) for thread in threads}
        assert {thread for thread, mask in blocked.items() if not mask >> (number - 1) & 1} == {helper.pid}
        assert helper.end(number) == 0


def _blocked(helper: Helper, thread: int) -> int:
    status = Path(f"/proc/{helper.pid}/task/{thread}/status").read_text(encoding="utf-8")
    found = re.search(r"^SigBlk:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert found
    return int(found[1], 16)
