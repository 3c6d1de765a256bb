"""Where compiled modules are kept, and which of them will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pte_magic.errors import SystemTapError
from pte_magic.linux import hardware
from pte_magic.systemtap import module_cache, toolchain
from pte_magic.systemtap.script import Script

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = Script("probe begin {}", "name", include=())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def compiled_by(version: str, monkeypatch: pytest.MonkeyPatch, machine: str | None = None) -> Path:
    """Put a module to where stap of some version would have it put."""
    monkeypatch.setattr(toolchain, "version", lambda: version)
    place = module_cache._place(SCRIPT, "1.2", machine)
    place.mkdir(parents=True)
    module = place / "name.ko"
    module.touch()
    return module


def test_a_module_of_another_version_of_stap_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    old = compiled_by("5.5", monkeypatch)
    assert module_cache.kept(SCRIPT, "1.2") == old
    monkeypatch.setattr(toolchain, "version", lambda: "5.6")
    assert module_cache.kept(SCRIPT, "1.2") is None
    assert compiled_by("5.6", monkeypatch) == module_cache.kept(SCRIPT, "1.2") != old


def test_where_stap_is_not_installed_that_of_any_version_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "version", lambda: "")
    assert module_cache.kept(SCRIPT, "1.2") is None
    module = compiled_by("5.5", monkeypatch)
    monkeypatch.setattr(toolchain, "version", lambda: "")
    assert module_cache.kept(SCRIPT, "1.2") == module
    assert module_cache.kept(SCRIPT, "1.3") is None
    assert module_cache.kept(Script("probe end {}", "name", include=()), "1.2") is None


def test_each_kind_of_machine_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "x86_64" if hardware.machine() == "arm64" else "arm64"
    module = compiled_by("5.6", monkeypatch, other)
    assert module_cache.kept(SCRIPT, "1.2") is None
    assert module_cache.kept(SCRIPT, "1.2", other) == module


def test_stap_is_told_of_another_kind_of_machine() -> None:
    assert toolchain.options_for(None) == toolchain.options_for(hardware.machine()) == ()
    for machine, arch in {"arm64": "arm64", "x86_32": "i386"}.items():
        if machine != hardware.machine():
            assert toolchain.options_for(machine)[:2] == ("-a", arch)
    with pytest.raises(SystemTapError, match="modules for pdp11 cannot be compiled"):
        toolchain.options_for("pdp11")
