"""The module where an administrator puts it: who is in the group stapusr, and in no other, uses the stap walker."""

from __future__ import annotations

import mmap
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, forked
from handmade import PAGE
from loaded import modules, wait_until_nothing_is_left
from member import become, module_installed
from waiting import wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.cli import main_parser, serve
from pte_magic.errors import WalkerUnavailableError
from pte_magic.helper.policy import HelperError
from pte_magic.systemtap import toolchain
from pte_magic.walkers import stap as walker
from pte_magic.walkers.shared_memory import MEMORY_BYTES
from pte_magic.walkers.what_to_type import command

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def installed() -> Iterator[Path]:
    """The module under /lib/modules."""
    with module_installed() as module:
        yield module


def states_of_pages() -> list[str]:
    """Return what the stap walker says of two pages of this process, one of which was written."""
    with mmap.mmap(-1, 2 * PAGE) as memory:
        memory[0] = 1
        return [str(state) for state in pte_magic.walk(memory, walker="stap")["state"]]


def test_it_is_roots_and_nobody_else_may_write_to_it(installed: Path) -> None:
    found = installed.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, 0o644)
    assert not list(installed.parent.glob(".*"))


def test_a_member_of_stapusr_loads_and_asks_it(installed: Path) -> None:
    assert walker.installed() == installed
    with forked(lambda: become("stapusr"), states_of_pages, walkers.close) as child:
        child.step()
        assert child.step() == ["present", "none"]
        (name,) = modules()
        assert Path("/proc", name).stat().st_uid == NOBODY
        child.step()
        wait_until_nothing_is_left()


def test_it_is_unloaded_when_the_members_notebook_is_killed() -> None:
    with forked(lambda: become("stapusr"), states_of_pages) as child:
        child.step()
        child.step()
        assert modules()
    wait_until_nothing_is_left()


def frames_for_nobody() -> str:
    """Return what a helper says that shall show page frames to a group."""
    given = main_parser.parse(["serve", "--walker", "stap", "--frames", str(NOBODY), "--socket", "/none"])
    try:
        serve.serve(given)
    except HelperError as error:
        return str(error)
    finally:
        walkers.close()
    return ""


def test_a_member_s_helper_is_told_no_page_frames_and_says_so() -> None:
    with forked(lambda: become("stapusr"), frames_for_nobody) as child:
        child.step()
        assert child.step() == f"--frames {NOBODY}: walker stap shows none to this user; type `sudo {command('serve')}`"
    wait_until_nothing_is_left()


def why_not() -> str:
    found = walkers.attempt("stap")
    return found.why if isinstance(found, WalkerUnavailableError) else ""


def test_who_is_in_no_group_is_told_which() -> None:
    with forked(become, why_not) as child:
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
    assert set(told.values()) == {f"{installed} is of another version of pte-magic; type `{command('install-module')}`"}
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
    place = tmp_path / f"{walker.MODULE}.ko" if how == "refused" else None
    if place:
        place.write_bytes(b"no module")
    monkeypatch.setattr(walker, "installed", lambda: place)
    told = pte_magic.doctor().set_index("walker").loc["stap"]
    walkers.close()
    assert "this kernel takes signed modules only (Secure Boot)" in told["note"]
    assert told["note"].startswith("not compiled yet" if how == "to be compiled" else "its module was not loaded: ")


def test_without_the_module_its_installation_is_what_to_type(installed: Path) -> None:
    installed.rename(installed.with_suffix(".away"))
    try:
        for groups, more in (("stapusr",), ""), ((), "; not root, and not in the group stapusr; type `sudo usermod "):
            with forked(partial(become, *groups), why_not) as child:
                child.step()
                why = child.step()
                assert why.startswith(f"its module is not installed; type `sudo {command('install-module')}`{more}")
                assert "stapdev" not in why
    finally:
        installed.with_suffix(".away").rename(installed)


def test_a_member_is_told_of_a_module_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walker, "_IOCTL", walker._IOCTL + 1)
    with forked(lambda: become("stapusr"), why_not) as child:
        child.step()
        assert child.step().endswith(f"is of another version of pte-magic; type `sudo {command('install-module')}`")
        wait_until_nothing_is_left()


def test_with_a_signature_one_process_at_a_time_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the kernel takes signed modules only: the module keeps its name, which another one may not have."""
    monkeypatch.setattr(toolchain, "signed_only", lambda: True)
    with forked(lambda: become("stapusr"), states_of_pages, states_of_pages, walkers.close) as first:
        first.step()
        first.step()
        assert Path("/proc", walker.MODULE).exists()
        with forked(lambda: become("stapusr"), why_not) as second:
            second.step()
            assert "another process uses it" in second.step()
        assert first.step() == ["present", "none"]
        first.step()
        wait_until(lambda: not Path("/sys/module", walker.MODULE).exists())
    wait_until_nothing_is_left()
