"""README's two commands on a machine that systemd has booted, and the service that the first of them installs."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import forked
from fresh import JANE, JOE, as_user, become, commands, prepare
from handmade import PAGE, pfn
from notebooks import notebook
from recipe import PROJECT, PYTHON
from waiting import SECONDS, wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.errors import AccessDeniedError, WalkerUnavailableError
from pte_magic.walkers import helper_protocol
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SOCKET, SERVICE = "pte-magic.socket", "pte-magic.service"
UNITS = [Path("/etc/systemd/system", name) for name in (SOCKET, SERVICE)]
COMMAND = f"{PYTHON}/bin/pte-magic"
FRAME = 0x000F_FFFF_FFFF_F000


def run(*command: str, status: int = 0) -> str:
    """Run a program; return all that it printed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == status, done.stdout
    return done.stdout.strip()


def show(name: str, unit: str = SERVICE) -> str:
    """Return a property of a unit."""
    return run("systemctl", "show", f"--property={name}", "--value", unit)


@pytest.fixture(scope="module")
def installed() -> str:
    """What README's first command printed, which Jane has typed."""
    prepare()
    return run(*as_user(JANE, commands()[0]))


@pytest.fixture(autouse=True)
def _clients(installed: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is installed is there, and clients look where everybody's do."""
    assert installed
    monkeypatch.delenv(helper_protocol.VARIABLE)
    walkers.close()
    yield
    walkers.close()


SERVED = """
import time
from pte_magic import walkers
until = time.monotonic() + 600
while isinstance(walkers.attempt("helper", again=True), Exception) and time.monotonic() < until:
    time.sleep(1)
"""
"""Waits until the helper greets: who asks first starts it, in a minute here, and `auto` does not wait so long."""


def look(array: NDArray[np.uint8], user: str) -> list[int]:
    """Turn into a user, if this is not his process already, and return the entries of written pages."""
    if pwd.getpwuid(os.getuid()).pw_name != user:
        become(user)
    array[:] = 1
    exec(SERVED)  # noqa: S102  (what a notebook is told, too)
    found = pte_magic.walk(array)
    assert set(found["walker"]) == {"helper"}
    return [int(entry) for entry in found["entry"]]


def test_the_first_command_says_who_may_connect(installed: str) -> None:
    assert f"members of group {JANE} may connect to {helper_protocol.DEFAULT_SOCKET}" in installed
    assert "beware" not in installed
    assert f"did `systemctl restart {SOCKET}`" in installed


def test_two_commands_show_an_ordinary_user_raw_entries_in_jupyterlab() -> None:
    _, second = commands()
    with notebook(JANE, second) as made:
        made.run("%load_ext pte_magic")
        made.run("import os, numpy as np\na = np.ones(1500)")
        made.run(SERVED)
        shown = made.run("%pte a")
        told = made.run("import pte_magic\nt = pte_magic.walk(a)\nprint(os.getpid(), *t['vaddr'], *t['entry'])")
        pid, *numbers = map(int, told.split())
        vaddr, entries = np.split(np.array(numbers, np.uint64), 2)
        raw = pte_magic.walk(int(vaddr[0]), int(vaddr[-1]) + PAGE, pid=pid, walker="bpf")
    assert ", walker helper" in shown
    assert len(entries) >= 3
    for entry in entries:
        digits = zip(f"{entry:016x}", f"{FRAME:016x}", strict=True)
        assert "0x" + "".join("?" if hidden != "0" else digit for digit, hidden in digits) in shown
    assert raw["vaddr"].tolist() == vaddr.tolist()
    assert [int(entry) & ~FRAME for entry in raw["entry"]] == entries.tolist()
    assert (raw["pfn"] > 0).all()


def test_it_starts_when_somebody_asks_as_a_user_of_its_own_without_privileges() -> None:
    run("systemctl", "stop", SERVICE)
    assert [show("ActiveState", unit) for unit in (SOCKET, SERVICE)] == ["active", "inactive"]
    assert run("systemctl", "is-enabled", SOCKET) == "enabled"
    array = private_mapping(3)
    with forked(lambda: look(array, JANE)) as child:
        entries = child.step()
        raw = pte_magic.walk(array, pid=child.pid, walker="bpf")
        lines = Path("/proc", show("MainPID"), "status").read_text(encoding="ascii").splitlines()
    assert entries == [int(entry) & ~FRAME for entry in raw["entry"]]
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    (user,) = set(status["Uid"].split())
    assert 61184 <= int(user) <= 65519  # those of DynamicUser=, systemd.exec(5)
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_what_it_runs_is_nobody_s_to_change_but_root_s() -> None:
    assert show("ExecStart").startswith(f"{{ path={PYTHON}/bin/python3 ; ")
    assert run("find", PYTHON, "!", "-type", "l", "(", "!", "-user", "root", "-o", "-perm", "/022", ")") == ""
    assert run("find", PYTHON, "-type", "l", "!", "-user", "root") == ""


@pytest.mark.parametrize("other", [JOE, "root"])
def test_the_kernel_refuses_her_the_process_of(other: str) -> None:
    array = private_mapping(1)

    def ask() -> str:
        look(array, JANE)
        with pytest.raises(PermissionError):
            os.open(f"/proc/{his.pid}/pagemap", os.O_RDONLY)
        with pytest.raises(AccessDeniedError) as raised:
            pte_magic.walk(array, pid=his.pid)
        return str(raised.value)

    with forked(lambda: become(other)) as his, forked(ask) as child:
        his.step()
        assert f"pid {his.pid}: permission denied" in child.step()


def test_who_is_in_another_group_is_kept_out_by_the_kernel() -> None:
    def connect() -> str:
        become(JOE)
        with pytest.raises(WalkerUnavailableError) as raised:
            walkers.get("helper")
        return str(raised.value.__cause__) + raised.value.why

    with forked(connect) as child:
        said = child.step()
    assert "Permission denied" in said
    assert f"type `sudo usermod -aG {JANE} {JOE}` and log in again" in said


def test_each_request_is_a_line_of_the_journal() -> None:
    array = private_mapping(2)
    with forked(lambda: look(array, JANE)) as child:
        child.step()
        pid = child.pid
    run("journalctl", "--sync")
    user = pwd.getpwnam(JANE).pw_uid
    asked = f"range {array.ctypes.data:#x}-{array.ctypes.data + array.nbytes:#x} rows 2 status OK"
    lines = run("journalctl", "--unit", SERVICE, "--output=cat").splitlines()
    assert f"uid {user} pid {pid} owner {user} {asked}" in lines
    assert (
        f"serving for whom its unit names at {helper_protocol.DEFAULT_SOCKET}, walker bpf, page frames for nobody"
        in lines
    )


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_notebook_goes_on_when_the_service_was_started_again(how: str) -> None:
    array = private_mapping(2)
    with forked(lambda: look(array, JANE), lambda: look(array, JANE)) as child:
        before = child.step()
        first = show("MainPID")
        if how == "restart":
            run("systemctl", "restart", SERVICE)
        else:
            os.kill(int(first), signal.SIGKILL)
            wait_until(lambda: show("MainPID") == "0", seconds=SECONDS)
        assert child.step() == before
        assert show("MainPID") not in (first, "0")


def test_a_service_that_was_stopped_is_one_clear_line_and_comes_back() -> None:
    array = private_mapping(1)

    def ask() -> str:
        with pytest.raises(WalkerUnavailableError) as raised:
            pte_magic.walk(array, walker="helper")
        return raised.value.why

    with forked(lambda: look(array, JANE), ask, lambda: look(array, JANE)) as child:
        before = child.step()
        run("systemctl", "stop", SOCKET)
        assert show("ActiveState") == "inactive"
        told, command = child.step().split("; type ")
        assert told == f"no helper listens at {helper_protocol.DEFAULT_SOCKET}"
        assert command == f"`sudo systemctl restart {SOCKET}`"
        run(*command.strip("`").split())
        assert child.step() == before


def test_systemd_finds_nothing_wrong_and_little_exposed() -> None:
    assert run("systemd-analyze", "verify", *map(str, UNITS)) == ""
    told = run("systemd-analyze", "security", "--no-pager", SERVICE)
    (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", told)
    (figure,) = re.findall(r"exposure ([\d.]+) of 10", (PROJECT / "README.md").read_text(encoding="utf-8"))
    assert abs(float(level) - float(figure)) <= 0.3, told  # each systemd looks at some more


def test_frames_are_for_members_of_the_group_that_was_named() -> None:
    """The service is replaced while somebody uses it."""
    array, his = private_mapping(1), private_mapping(1)
    run("groupadd", "students")
    for name in (JANE, JOE):
        run("usermod", "--append", "--groups", "students", name)
    with forked(lambda: look(array, JANE)) as child:
        child.step()
        said = run(COMMAND, "install-service", "--group", "students", "--frames", JANE)
    assert "replaced" in said
    with forked(lambda: look(array, JANE)) as child, forked(lambda: look(his, JOE)) as other:
        (seen,), (hidden,) = child.step(), other.step()
        assert (seen & FRAME) // PAGE == pfn(array.ctypes.data, child.pid) > 0
        assert hidden & FRAME == 0 < pfn(his.ctypes.data, other.pid)


def test_removed_it_leaves_nothing() -> None:
    array = private_mapping(1)
    with forked(lambda: look(array, JANE)) as child:
        child.step()
        said = run(COMMAND, "install-service", "--remove")
        assert all(f"removed {path}" in said for path in UNITS)
        left = [*Path("/etc/systemd").rglob("*pte-magic*"), *Path("/run").glob("pte-magic*")]
        assert not left
        assert run("systemctl", "list-units", "--all", "--plain", "--no-legend", "pte-magic*") == ""
        assert run("pgrep", "--full", "pte_magic serve", status=1) == ""
