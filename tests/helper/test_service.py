"""The helper as its unit has it run: an ordinary user with two capabilities, systemd's socket, and its sandbox."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, become, forked, needs_root
from handmade import PAGE
from serving import ENVIRONMENT
from test_serve import statuses
from waiting import SECONDS, wait_until

import pte_magic
from pte_magic.helper import install_service, python_location
from pte_magic.helper.policy import HelperError
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_root

TWO = "-all,+bpf,+perfmon"
AS_NOBODY = (
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
    f"--inh-caps={TWO}", f"--ambient-caps={TWO}", f"--bounding-set={TWO}",
)  # fmt: skip
"""What DynamicUser=, AmbientCapabilities= and CapabilityBoundingSet= do, with a user that there is."""

SANDBOX = """
import ctypes, os, sys
names, command = sys.argv[1].split(), sys.argv[2:]
library = ctypes.CDLL({library!r}, use_errno=True)
library.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(library.seccomp_init(0x00050000 | 1))  # all others fail with EPERM
for name in names:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:
        assert library.seccomp_rule_add(context, 0x7fff0000, number, 0) == 0, name
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # NoNewPrivileges=
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # MemoryDenyWriteExecute=, where the kernel has it (6.3)
assert library.seccomp_load(context) == 0
os.execvp(command[0], command)
"""


@pytest.fixture(scope="module", autouse=True)
def _reachable() -> None:
    try:
        python_location.check_reachable()
    except HelperError as error:
        pytest.skip(str(error))


def allowed() -> list[str]:
    """Return the system calls that the unit allows, by name."""
    names: set[str] = set()
    unit = install_service.units(0, None)[install_service.SERVICE]
    for words in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        found = {name for word in words.removeprefix("~").split() for name in members(word)}
        names = names - found if words.startswith("~") else names | found
    return sorted(names)


def members(word: str) -> set[str]:
    """Return the system calls of a group of systemd's, or of a name."""
    if not word.startswith("@"):
        return {word}
    told = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", word], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip() for line in told.splitlines()[1:]]
    return {name for line in lines if line and not line.startswith("#") for name in members(line)}


@contextmanager
def activated(*before: str) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Have systemd's program listen and start the helper, after some words, when somebody connects."""
    if not shutil.which("systemd-socket-activate"):
        pytest.skip("needs systemd-socket-activate of systemd")
    with tempfile.TemporaryDirectory(prefix="pte-magic-helper-") as name:
        directory, path = Path(name), Path(name) / "socket"
        directory.chmod(0o755)
        variables = [f"--setenv={variable}" for variable in ENVIRONMENT]
        listen = ["systemd-socket-activate", "--seqpacket", f"--listen={path}", *variables]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [*listen, *before, *python_location.SERVE], stderr=log, env=ENVIRONMENT, cwd="/", text=True
            )
        try:
            wait_until(path.exists)
            path.chmod(0o666)
            yield path, process
        finally:
            process.terminate()
            process.wait(SECONDS)
            print((directory / "log").read_text(encoding="utf-8"))  # noqa: T201


def look_as_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, bool, str]:
    """Walk a page of nobody's own; return its entry's lowest bit, whether its frame is hidden, and the walker."""
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(path))
    array = private_mapping(1)

    def look() -> tuple[int, bool, str]:
        become(NOBODY)
        array[:] = 1
        found = pte_magic.walk(array.ctypes.data, array.ctypes.data + PAGE, walker="helper")
        return int(found["entry"].iloc[0]) & 1, bool(found["pfn"].isna().all()), str(found["walker"].iloc[0])

    with forked(look) as child:
        answer: tuple[int, bool, str] = child.step()
    return answer


def test_an_ordinary_user_with_two_capabilities_serves_and_has_none_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with activated(*AS_NOBODY) as (path, process):
        assert look_as_nobody(path, monkeypatch) == (1, True, "helper")
        for thread in statuses(process.pid):
            assert thread["Uid"].split() == [str(NOBODY)] * 4
            assert {int(thread[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
            assert int(thread["CapBnd"], 16) == 1 << 38 | 1 << 39  # CAP_PERFMON, CAP_BPF
            assert thread["NoNewPrivs"] == "1"


def test_the_unit_s_system_calls_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    library = find_library("seccomp")
    if not library or not shutil.which("systemd-analyze"):
        pytest.skip("needs libseccomp.so.2 and systemd-analyze, both of systemd's packages")
    names = allowed()
    assert {"bpf", "capset", "close_range", "clone3"} <= set(names)
    assert not {"ptrace", "mount", "setuid", "init_module", "kexec_load", "chown"} & set(names)
    sandbox = (sys.executable, "-c", SANDBOX.format(library=library), " ".join(names))
    with activated(*AS_NOBODY, *sandbox) as (path, process):
        assert look_as_nobody(path, monkeypatch) == (1, True, "helper")
        assert {thread["Seccomp"] for thread in statuses(process.pid)} == {"2"}
        process.terminate()
        assert process.wait(SECONDS) == 0  # setfsuid(2) is not among them
