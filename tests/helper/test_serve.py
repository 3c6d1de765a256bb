"""``pte-magic serve``: what it says, what it gives up, whom it lets in, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, become, forked, needs_root
from handmade import PAGE
from serving import COMMAND, ENVIRONMENT, Helper, serving
from talking import Talker, opened, still_serves
from waiting import SECONDS, wait_until

from pte_magic.errors import WalkerUnavailableError
from pte_magic.helper import policy
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.walkers.helper_protocol import GREETING, MAGIC, VERSION, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

SOMEBODY = 1


@pytest.fixture
def own_helper() -> Iterator[Helper]:
    """A helper of the test's own, which it may end."""
    with serving("--group", str(NOBODY)) as found:
        yield found


def said(*arguments: str, status: int = 1) -> str:
    """Return what the command says when it refuses to start."""
    command = [*COMMAND, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd="/", env=ENVIRONMENT
    )
    assert done.returncode == status, done.stderr
    return done.stderr.strip()


def statuses(pid: int) -> list[dict[str, str]]:
    """Return /proc/PID/status of all threads, but for those that end meanwhile."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            lines = (task / "status").read_text(encoding="utf-8").splitlines()
            found.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return found


@needs_root
def test_no_thread_has_a_privilege_left_and_none_can_get_one(served: Helper) -> None:
    with Talker(served.path):
        wait_until(lambda: not served.alone())
        told = statuses(served.pid)
        assert len(told) == 2  # its first one, and the client's
        for thread in told:
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(thread[kind], 16) == 0, kind
            assert thread["NoNewPrivs"] == "1"


@needs_root
def test_each_client_s_thread_has_its_own_connection_and_no_other(served: Helper) -> None:
    def sockets(task: Path) -> int:
        return sum(str(fd.readlink()).startswith("socket:") for fd in task.joinpath("fd").iterdir())

    with Talker(served.path), Talker(served.path), Talker(served.path):
        tasks = Path(f"/proc/{served.pid}/task")
        wait_until(lambda: len(list(tasks.iterdir())) == 4)
        assert sorted(sockets(task) for task in tasks.iterdir() if int(task.name) != served.pid) == [1, 1, 1]


@needs_root
def test_another_process_of_the_same_user_cannot_look_into_it(served: Helper) -> None:
    command = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "cat", f"/proc/{served.pid}/maps")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr


@needs_root
def test_the_socket_is_its_group_s_and_the_kernel_keeps_others_out(served: Helper) -> None:
    found = served.path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, NOBODY, 0o660)

    def connect() -> str:
        become(SOMEBODY)
        try:
            Talker(served.path)
        except PermissionError as error:
            return str(error.strerror)
        return "connected"

    with forked(connect) as child:
        assert child.step() == "Permission denied"
    assert f"uid {SOMEBODY}" not in served.log()


@needs_root
def test_who_may_not_connect_is_told_what_to_type(served: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(served.path))

    def connect() -> str:
        become(SOMEBODY)
        with pytest.raises(WalkerUnavailableError) as raised:
            HelperWalker()
        return str(raised.value)

    with forked(connect) as child:
        message = child.step()
    assert re.search(rf"{served.path} is not for this user; type `sudo usermod -aG \S+ \S+` and log in again", message)


def test_where_no_helper_listens_the_walker_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: "/nonexistent/pte-magic")
    with pytest.raises(
        WalkerUnavailableError, match=r"no helper listens at (/nonexistent.*); type `.*/pte-magic serve --socket \1`"
    ):
        HelperWalker()


@pytest.mark.parametrize(
    ("greeting", "message"),
    [
        (b"hello", "is not a helper of pte-magic"),
        (GREETING.pack(MAGIC, 1, 0, 0, 0, 0), "speaks version 1 of the protocol, this package 2"),
        (GREETING.pack(MAGIC, VERSION, Status.BUSY, 0, 0, 0), "has the most clients that it may have"),
        (GREETING.pack(MAGIC, VERSION, Status.FAILED, 0, 0, 0), r"failed \(status 7\)"),
        (GREETING.pack(MAGIC, VERSION, Status.OK, 0, 0, 0), "greeted with no descriptor, 0 bytes and flags 0x0"),
        (b"", "has ended"),
    ],
)
def test_greetings_of_something_else_are_one_clear_line(
    greeting: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        listening.listen()

        def greet() -> None:
            connected, _ = listening.accept()
            with connected:
                connected.send(greeting)

        with forked(greet) as child:
            thread = threading.Thread(target=child.step)
            thread.start()
            with pytest.raises(WalkerUnavailableError, match=message) as raised:
                HelperWalker()
            assert "\n" not in str(raised.value)
            thread.join()


@needs_root
def test_a_second_one_is_told_who_serves_and_the_first_goes_on(served: Helper) -> None:
    assert said("--socket", str(served.path)) == (
        f"pte-magic: {served.path}: served by pid {served.pid} already; "
        "type `pte-magic serve --socket PATH` for another path"
    )
    still_serves(served.path)


@needs_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_and_leaves_nothing(number: int, own_helper: Helper) -> None:
    with Talker(own_helper.path) as talker:
        assert own_helper.end(number) == 0
        with pytest.raises(EOFError):
            talker.answer()
    assert not own_helper.path.exists()
    assert own_helper.log().endswith("ended\n")


@needs_root
def test_a_killed_one_leaves_its_socket_s_file_only_which_the_next_replaces(own_helper: Helper) -> None:
    own_helper.end(signal.SIGKILL)
    assert sorted(path.name for path in own_helper.path.parent.iterdir()) == ["log", "socket"]
    own_helper.start()
    still_serves(own_helper.path)


@needs_root
def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "it exists and is not a socket" in said("--socket", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"


@needs_root
def test_a_path_that_is_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    assert re.fullmatch(
        r"pte-magic: /\S+: AF_UNIX path too long; type .*", said("--socket", str(tmp_path / ("x" * 200)))
    )


@needs_root
def test_bad_options_are_one_line_with_the_value() -> None:
    assert said("--group", "no-such-group").startswith("pte-magic: group 'no-such-group' does not exist; type ")
    assert said("--frames", "no-such-group").startswith("pte-magic: group 'no-such-group' does not exist; type ")
    assert "'0' is not a number from 1 on" in said("--max-clients", "0", status=2)
    assert "'many' is not a number from 1 on" in said("--max-rows", "many", status=2)


@needs_root
def test_without_privileges_it_says_which_are_missing(tmp_path: Path) -> None:
    command = (
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        *COMMAND,
        "--walker",
        "bpf",
        "--socket",
        str(tmp_path / "s"),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd="/")
    assert done.returncode == 1
    assert re.fullmatch(
        r"pte-magic: walker 'bpf' cannot work here: no permission .*CAP_BPF and CAP_PERFMON.*\n", done.stderr
    )


@needs_root
def test_a_socket_that_systemd_passed_is_served_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        listening.listen()
        # What systemd does, sd_listen_fds(3): the socket is descriptor 3, and the variables name the process.
        code = (
            f"import os; os.dup2({listening.fileno()}, 3);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
            f"os.execv({sys.executable!r}, {list(COMMAND)!r})"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[listening.fileno()], stderr=subprocess.PIPE
        ) as process:
            assert process.stderr
            try:
                assert f"serving for whom its unit names at {path}".encode() in process.stderr.readline()
                still_serves(path)
            finally:
                process.terminate()
            assert process.wait(SECONDS) == 0
    assert path.exists()


@needs_root
def test_every_request_is_a_line_of_the_log(served: Helper) -> None:
    with opened() as fd, Talker(served.path) as talker:
        talker.ask(fd, PAGE, 3 * PAGE)
    with Path(__file__).open(encoding="utf-8") as file, Talker(served.path) as talker:
        talker.ask(file.fileno(), PAGE)
    first, second = served.requests()[-2:]
    us = {"uid": "0", "pid": str(os.getpid())}
    assert first == us | {"owner": "0", "range": "0x1000-0x3000", "rows": "1", "status": "OK"}
    assert second == us | {"owner": "-", "range": "0x1000-0x2000", "rows": "0", "status": "NOT_PAGEMAP"}


@needs_root
def test_lines_for_the_journal_have_their_priority(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    found = os.fstat(writing)
    environment = os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    command = [*COMMAND, "--socket", str(tmp_path / "socket")]
    with subprocess.Popen(command, stderr=writing, env=environment, cwd="/") as process:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as lines:
            assert lines.readline().startswith("<6>serving for group ")
            process.terminate()
            assert lines.readline() == "<6>ended\n"


def test_the_default_group_is_that_of_who_typed_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    assert policy.default_group() == NOBODY
    monkeypatch.delenv("SUDO_UID")
    assert policy.name_of(policy.default_group()) in {"root", policy.GROUP}
