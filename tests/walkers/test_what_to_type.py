"""What messages tell to type: commands that are there, by their whole paths, and that do what they are named for."""

from __future__ import annotations

import grp
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import NOBODY, needs_root, python

from pte_magic.helper import install_service, python_location
from pte_magic.walkers import what_to_type
from pte_magic.walkers.helper_protocol import DEFAULT_SOCKET, VARIABLE

TOLD = """
from pte_magic.walkers import what_to_type as w
print(w.command("serve"), w.serve(), w.start_helper(), w.show_frames(), sep="\\n")
"""


def test_commands_have_the_whole_path_of_this_python_s_own() -> None:
    words = shlex.split(what_to_type.command("serve"))
    assert (words[0] == "sudo") == (os.geteuid() != 0)
    *program, last = words[words[0] == "sudo" :]
    assert last == "serve"
    assert Path(program[0]).parent == Path(sys.executable).parent
    said = subprocess.run([*program, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--max-clients-per-user" in said


@needs_root
def test_an_ordinary_user_is_told_sudo_and_root_is_not() -> None:
    assert {line.split()[0] for line in python(TOLD, user=NOBODY).splitlines()} == {"sudo"}
    assert "sudo" not in python(TOLD)


def test_where_nothing_is_installed_beside_python_its_module_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "python3").symlink_to(shutil.which(sys.executable) or sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "a b" / "python3"))
    assert shlex.split(what_to_type.command("serve"))[-4:] == [sys.executable, "-m", "pte_magic", "serve"]


def test_a_helper_is_started_where_this_process_looks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/run/one of mine/socket")
    for line in (what_to_type.start_helper(), what_to_type.show_frames()):
        words = shlex.split(line)
        assert words[words.index("--socket") + 1] == "/run/one of mine/socket"
    monkeypatch.setenv(VARIABLE, DEFAULT_SOCKET)
    assert "--socket" not in what_to_type.serve()


def test_where_the_service_is_installed_it_is_what_is_started_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit files are those that `pte-magic install-service` writes."""
    monkeypatch.setenv(VARIABLE, DEFAULT_SOCKET)
    monkeypatch.setattr(what_to_type, "UNIT", tmp_path / "pte-magic.socket")
    assert what_to_type.start_helper().endswith("/pte-magic serve")
    for name, text in install_service.units(0, None).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert what_to_type.start_helper().endswith("systemctl restart pte-magic.socket")
    (tmp_path / "other").mkdir()
    for name in ("python3", "pte-magic"):
        (tmp_path / "other" / name).touch(mode=0o755)
    with pytest.MonkeyPatch.context() as patch:  # the service's Python need not be this one
        patch.setattr(python_location, "SERVE", (str(tmp_path / "other" / "python3"), "-m", "pte_magic"))
        (tmp_path / "pte-magic.service").write_text(install_service.units(0, None)["pte-magic.service"])
    words = shlex.split(what_to_type.show_frames())
    assert words[words[0] == "sudo"] == str(tmp_path / "other" / "pte-magic")
    given = install_service_options(words[words.index("install-service") + 1 :])
    assert given["--frames"] == grp.getgrgid(os.getegid()).gr_name


def install_service_options(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))
