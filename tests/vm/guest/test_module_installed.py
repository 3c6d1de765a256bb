"""The module where an administrator puts it: who is in the group stapusr, and in no other, uses the stap walker."""

from __future__ import annotations

import grp
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import NOBODY, PAGE, forked, libc, pfn
from loaded import modules, wait_until_nothing_is_left

import pte_magic
from pte_magic import walkers
from pte_magic.errors import WalkerUnavailableError
from pte_magic.systemtap import modules as compiled
from pte_magic.systemtap import toolchain
from pte_magic.walkers import stap as walker
from pte_magic.walkers.shared import MEMORY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_SET_DUMPABLE = 4  # PR_SET_DUMPABLE: /proc/self is the new user's, as it is after exec


@pytest.fixture
def installed() -> Iterator[Path]:
    """The module under /lib/modules."""
    module = compiled.kept(walker.script())
    assert module
    walkers.close()
    place = Path("/lib/modules", platform.release(), "systemtap")
    place.mkdir()
    shutil.copy(module, place)
    yield place / module.name
    shutil.rmtree(place)


def become(*groups: str) -> None:
    """Turn this process, a child of the tests, into one of a user who is in these groups."""
    os.setgroups([grp.getgrnam(name).gr_gid for name in groups])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0)
    os.environ["XDG_CACHE_HOME"] = "/nowhere"


def frame_of_a_page() -> tuple[int, int]:
    """Return the address of a page of this process, and the frame that the stap walker says it has."""
    page = np.ones(2 * PAGE, np.uint8)
    kept.append(page)
    address = -(-page.ctypes.data // PAGE) * PAGE
    return address, int(pte_magic.walk(address, walker="stap")["pfn"].iloc[-1])


kept: list[object] = []


def test_a_member_of_stapusr_loads_and_asks_it(installed: Path) -> None:
    assert walker.installed() == installed
    with forked(lambda: become("stapusr"), frame_of_a_page, walkers.close) as child:
        child.step()
        address, frame = child.step()
        assert frame == pfn(address, child.pid)
        (name,) = modules()
        assert Path("/proc", name).stat().st_uid == NOBODY
        child.step()
        wait_until_nothing_is_left()


def test_it_is_unloaded_when_the_members_notebook_is_killed(installed: Path) -> None:
    assert installed.exists()
    with forked(lambda: become("stapusr"), frame_of_a_page) as child:
        child.step()
        child.step()
        assert modules()
    wait_until_nothing_is_left()


@pytest.mark.usefixtures("installed")
def test_who_is_in_no_group_is_told_which() -> None:
    def why() -> str:
        found = walkers.attempt("stap")
        return found.why if isinstance(found, WalkerUnavailableError) else ""

    with forked(become, why) as child:
        child.step()
        assert child.step() == (
            "not root, and not in the group stapusr; type `sudo usermod --append --groups stapusr nobody` and log in "
            "again"
        )


def test_another_version_s_module_is_told_of(installed: Path) -> None:
    """One that answers other calls, and one with other memory; `auto` does without them."""
    told = {}
    for name, value in {"_IOCTL": walker._IOCTL + 1, "MEMORY_BYTES": MEMORY_BYTES + PAGE}.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(walker, name, value)
            found = walkers.attempt("stap", again=True)
            told[name] = found.why if isinstance(found, WalkerUnavailableError) else ""
        assert walkers.get().name == "bpf"
    assert set(told.values()) == {
        f"{installed} was made by another version of pte-magic; make it anew, as README says below Without root"
    }
    wait_until_nothing_is_left()
    assert walkers.get("stap").name == "stap"  # as soon as it is the right one
    walkers.close()


@pytest.mark.parametrize("how", ["to be compiled", "refused"])
def test_doctor_tells_of_secure_boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str) -> None:
    """The kernel is only said to take signed modules only; one that is no module stands for one that it refuses."""
    walkers.close()
    (tmp_path / "lockdown").write_text("none [integrity] confidentiality\n", encoding="ascii")
    monkeypatch.setattr(toolchain, "_LOCKDOWN", tmp_path / "lockdown")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if how == "refused":
        place = tmp_path / f"{walker.MODULE}.ko"
        place.write_bytes(b"no module")
        monkeypatch.setattr(walker, "installed", lambda: place)
    told = pte_magic.doctor().set_index("walker").loc["stap"]
    walkers.close()
    assert "this kernel takes signed modules only (Secure Boot)" in told["note"]
    assert told["note"].startswith("not compiled yet" if how == "to be compiled" else "its module was not loaded: ")
