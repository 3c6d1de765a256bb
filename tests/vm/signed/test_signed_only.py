"""A kernel that takes signed modules only, as they do under Secure Boot: what does not work there, and what is said.

Run in a guest of the lab by tests/vm/test_guests.py. Which keys the kernel trusts is for its firmware to say, which a
guest has none of: here, it knows those of Debian only.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import pte_magic
from pte_magic import walkers
from pte_magic.cli import main
from pte_magic.errors import WalkerUnavailableError
from pte_magic.systemtap import installation, module_cache, toolchain
from pte_magic.walkers import stap
from pte_magic.walkers.what_to_type import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.systemtap.script import Script

RELEASE = platform.release()
LOCKDOWN = Path("/sys/kernel/security/lockdown")
SIGNER = "somebody whom the kernel does not know"


REFUSED = (
    f"this kernel takes signed modules only, and refuses {installation.place(stap.MODULE)}, which has no signature, or "
    f"one of a key that the kernel does not know; type `{command('install-module')}`, which says how to enroll the key"
)


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module, not signed. It was compiled before the guest was booted, and install-module takes that one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolchain, "signed_only", lambda: False)
        kept = module_cache.kept(stap.script())
    assert kept

    @contextmanager
    def fresh(script: Script, release: str) -> Iterator[Path]:
        assert (script.name, release) == (stap.MODULE, RELEASE)
        yield Path(shutil.copy(kept, tmp_path))

    monkeypatch.setattr(module_cache, "fresh", fresh)
    return kept


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, Path]:
    """A key and its certificate."""
    private, certificate = tmp_path / "key.pem", tmp_path / "certificate.der"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={SIGNER}", "-outform", "DER"]
    subprocess.run([*make, "-keyout", private, "-out", certificate], check=True, capture_output=True)
    return private, certificate


@pytest.fixture(scope="module", autouse=True)
def _securityfs() -> None:
    """What systemd mounts; nothing else looks there for it in this guest."""
    if not LOCKDOWN.exists():
        subprocess.run(["mount", "-t", "securityfs", "none", LOCKDOWN.parent], check=True)


@pytest.fixture(autouse=True)
def _nothing_installed() -> Iterator[None]:
    walkers.close()
    yield
    walkers.close()
    installation.remove(stap.MODULE, RELEASE)


def refused() -> str:
    """Return why the stap walker cannot work, as `walk` and `doctor` say."""
    found = walkers.attempt("stap", again=True)
    assert isinstance(found, WalkerUnavailableError)
    assert pte_magic.doctor().set_index("walker").loc["stap"]["note"] == found.why
    assert "pte_m" not in Path("/proc/modules").read_text(encoding="ascii")
    return found.why


def test_this_kernel_takes_signed_modules_only_and_the_ebpf_program() -> None:
    assert toolchain.signed_only()
    assert "[integrity]" in LOCKDOWN.read_text(encoding="ascii")
    page = np.ones(4096, np.uint8)
    found = pte_magic.walk(page)
    assert (found["walker"].iloc[0], bool(found["present"].all())) == ("bpf", True)


def test_a_key_that_the_kernel_does_not_know_is_told_with_what_enrolls_it(
    compiled: Path, key: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    private, certificate = key
    assert main(["install-module", "--key", str(private), "--certificate", str(certificate)]) == 0
    told = capsys.readouterr().out
    module = installation.place(stap.MODULE)
    assert f"installed: {module}\n" in told
    assert f"`sudo mokutil --import {certificate}` and a reboot enroll it." in told
    said = subprocess.run(["modinfo", "-F", "signer", module], check=True, capture_output=True, text=True).stdout
    assert said.strip() == SIGNER
    assert module.read_bytes().startswith(compiled.read_bytes())
    assert refused() == REFUSED


def test_a_module_without_a_signature_is_refused_too(compiled: Path) -> None:
    installation.install(compiled, RELEASE)
    assert refused() == REFUSED


def test_without_a_key_nothing_is_installed(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compiled.exists()
    assert main(["install-module"]) == 1
    typed = f"type `{command('install-module')} --key KEY --certificate CERTIFICATE`"
    assert typed in capsys.readouterr().err
    assert not installation.place(stap.MODULE).exists()
