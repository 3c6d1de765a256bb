"""``pte-magic install-service``: what it writes, what it says, and that systemd has nothing to say against it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import NOBODY, needs_root

from pte_magic import cli
from pte_magic.cli import main_parser
from pte_magic.helper import install_service, policy, python_location
from pte_magic.helper.install_service import SERVICE, SOCKET
from pte_magic.helper.policy import Policy
from pte_magic.helper.privileges import NO_THREADS
from pte_magic.walkers.helper_protocol import DEFAULT_SOCKET

pytestmark = needs_root
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze of systemd")

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where units are written to instead, on a machine where systemd does not run."""
    made = tmp_path / "units"
    made.mkdir()
    monkeypatch.setattr(install_service, "DIRECTORY", made)
    monkeypatch.setattr(install_service, "RUNNING", tmp_path / "none")
    return made


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: Path) -> Path:
    """A systemctl that only notes how it was called, in the file that is returned; and systemd seems to run."""
    monkeypatch.setattr(install_service, "RUNNING", directory)
    noted, program = tmp_path / "noted", tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(noted))}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return noted


def value(text: str, name: str) -> str:
    """Return the one value of a setting."""
    (found,) = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
    return str(found)


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(directory: Path) -> None:
    assert cli.main(["install-service", "--group", str(NOBODY), "--frames", "0"]) == 0
    files = [str(directory / name) for name in (SOCKET, SERVICE)]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_the_service_is_exposed_as_little_as_the_readme_says(directory: Path) -> None:
    cli.main(["install-service", "--group", "0"])
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=10"]
    done = subprocess.run([*command, str(directory / SERVICE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (told,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    (figure,) = re.findall(r"exposure ([\d.]+) of 10", README)
    assert abs(float(told) - float(figure)) <= 0.3  # each systemd looks at some more


def test_the_service_runs_this_python_with_options_that_serve_takes() -> None:
    text = install_service.units(5, 7)[SERVICE]
    command = shlex.split(value(text, "ExecStart"))
    assert command[:5] == [sys.executable, "-P", "-m", "pte_magic", "serve"]
    given = main_parser.parse(command[4:])
    assert (given.function, given.frames) == ("pte_magic.cli.serve:serve", "7")
    assert "--frames" not in install_service.units(5, None)[SERVICE]
    assert dict(pair.split("=", 1) for pair in value(text, "Environment").split()) == NO_THREADS
    assert int(value(text, "TasksMax")) > Policy().clients + 1
    assert value(text, "CapabilityBoundingSet") == value(text, "AmbientCapabilities") == "CAP_BPF CAP_PERFMON"


def test_the_socket_is_the_group_s_where_clients_look() -> None:
    text = install_service.units(5, None)[SOCKET]
    assert value(text, "ListenSequentialPacket") == DEFAULT_SOCKET
    assert (value(text, "SocketGroup"), value(text, "SocketMode")) == ("5", "0660")


def test_the_group_is_by_default_that_of_serve(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    cli.main(["install-service"])
    assert value((directory / SOCKET).read_text(), "SocketGroup") == str(policy.default_group()) == str(NOBODY)


def test_a_path_with_any_character_is_one_word_of_the_command() -> None:
    assert install_service._quoted("/usr/bin/python3") == "/usr/bin/python3"
    assert install_service._quoted('/a b/"c"/50%/$d\\e') == '"/a b/\\"c\\"/50%%/$$d\\\\e"'


def test_without_systemd_running_it_says_what_to_type(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["install-service", "--group", "0"])
    said = capsys.readouterr().out
    assert f"wrote {directory / SOCKET}\nwrote {directory / SERVICE}\n" in said
    assert f"members of group root may connect to {DEFAULT_SOCKET}; page frames for nobody\n" in said
    assert "where it does, type `systemctl daemon-reload` and `systemctl enable pte-magic.socket` and" in said
    assert sorted(path.name for path in directory.iterdir()) == [SERVICE, SOCKET]


def test_systemd_is_told_and_told_again_when_it_is_removed(
    directory: Path, systemctl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["install-service", "--group", "0"]) == 0
    assert systemctl.read_text().splitlines() == ["daemon-reload", f"enable {SOCKET}", f"restart {SOCKET}"]
    systemctl.unlink()
    capsys.readouterr()
    assert cli.main(["install-service", "--remove"]) == 0
    assert systemctl.read_text().splitlines() == [f"disable --now {SOCKET} {SERVICE}", "daemon-reload"]
    assert f"removed {directory / SOCKET}\nremoved {directory / SERVICE}\n" in capsys.readouterr().out
    assert not list(directory.iterdir())
    assert cli.main(["install-service", "--remove"]) == 0
    assert capsys.readouterr().out == f"nothing to remove: there is no {directory / SOCKET}\n"


def test_what_systemd_refuses_is_one_line(systemctl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = systemctl.parent / "bin" / "systemctl"
    program.write_text("#!/bin/sh\necho 'Failed: no bus' >&2; exit 1\n")
    assert cli.main(["install-service", "--group", "0"]) == 1
    assert "pte-magic: `systemctl daemon-reload` failed: Failed: no bus; `systemctl" in capsys.readouterr().err


def test_a_python_that_others_cannot_run_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "python").symlink_to(sys.executable)
    monkeypatch.setattr(python_location, "SERVE", (str(private / "python"), *python_location.SERVE[1:]))
    assert cli.main(["install-service", "--group", "0"]) == 1
    assert re.search(
        r"own user cannot run \S+ \(Permission denied\); type `sudo make service` in ", capsys.readouterr().err
    )
    assert not list(directory.iterdir())


def test_places_that_others_may_change_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tmp_path / "ours"
    (ours / "bin").mkdir(parents=True)
    monkeypatch.setattr(python_location, "places", lambda: [ours / "bin", ours])
    assert python_location.others() == []
    os.chown(ours, NOBODY, NOBODY)
    assert python_location.others() == [f"{ours} (of user {NOBODY}, group {policy.name_of(NOBODY)})"]
