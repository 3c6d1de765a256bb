"""``pte-magic install-module`` with the real SystemTap and sign-file: what it installs, and what it refuses.

Run in the lab's root by tests/vm/test_root.py. Nothing is loaded: the guests load what is installed as here.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pte_magic.cli import main
from pte_magic.errors import SystemTapError
from pte_magic.helper import install_module
from pte_magic.systemtap import installation, module_cache, signing, toolchain
from pte_magic.walkers import stap

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = Path("/lib/modules")
RELEASES = sorted(path.parent.name for path in MODULES.glob("*/build") if (path.parent / "kernel").exists())
"""Kernels of this machine; of other machines there are headers alone."""
if not toolchain.version() or not RELEASES or os.geteuid():
    pytest.skip("needs root, SystemTap and a kernel's headers, as in the lab's root", allow_module_level=True)

MAGIC = b"~Module signature appended~\n"  # include/linux/module_signature.h
SIGNER = "somebody who signs modules"


@pytest.fixture
def release() -> Iterator[str]:
    """A kernel to whose modules some may be added: the lab's root itself is read-only."""
    directory = Path("/lib/modules", RELEASES[-1])
    links = {path.name: path.readlink() for path in directory.iterdir() if path.is_symlink()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", directory], check=True)
    try:
        for name, target in links.items():
            (directory / name).symlink_to(target)
        yield RELEASES[-1]
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> signing.Key:
    """A key that is thrown away."""
    return make_key(tmp_path_factory.mktemp("key"))


def make_key(place: Path) -> signing.Key:
    private, certificate = place / "key.pem", place / "certificate.der"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={SIGNER}", "-outform", "DER"]
    subprocess.run([*make, "-keyout", private, "-out", certificate], check=True, capture_output=True)
    return signing.Key(str(private), certificate)


@pytest.fixture
def a_module(tmp_path: Path) -> Path:
    """A file in place of a module that was compiled."""
    path = tmp_path / f"{stap.MODULE}.ko"
    path.write_bytes(os.urandom(9999))
    return path


def command(*words: str) -> int:
    """Do what a command line says."""
    return main(["install-module", *words])


def modinfo(module: Path, field: str) -> str:
    told = subprocess.run(["modinfo", "-F", field, module], check=True, capture_output=True, text=True)
    return told.stdout.strip()


def check_signature(module: Path, key: signing.Key, place: Path) -> None:
    """Have openssl verify what the kernel would (kernel/module/signing.c, mod_verify_sig())."""
    content = module.read_bytes()
    assert content.endswith(MAGIC)
    end = len(content) - len(MAGIC) - 12
    size = int.from_bytes(content[end + 8 : end + 12], "big")
    (place / "content").write_bytes(content[: end - size])
    (place / "signature").write_bytes(content[end - size : end])
    verify = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-noverify", "-nointern", "-out", "/dev/null"]
    files: list[str | Path] = ["-in", place / "signature", "-content", place / "content", "-certfile", key.certificate]
    subprocess.run([*verify, *files], check=True, capture_output=True)


def test_it_compiles_signs_installs_and_removes(
    release: str,
    key: signing.Key,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where somebody else may have put something
    planted = module_cache._place(stap.script(), release) / f"{stap.MODULE}.ko"
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"planted")
    monkeypatch.setenv("SUDO_USER", "jane")

    words = ("--release", release, "--key", key.private, "--certificate", str(key.certificate))
    assert command(*words) == 0
    told = capsys.readouterr().out
    module = Path("/lib/modules", release, "systemtap", "pte_magic_walker.ko")
    assert f"installed: {module}\n" in told
    assert f"signed with {key.private} (sha256)\n" in told
    assert "sudo usermod --append --groups stapusr jane\n" in told
    found = module.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, 0o644)
    assert [path.name for path in module.parent.iterdir()] == [module.name]
    assert modinfo(module, "vermagic").split()[0] == release
    assert (modinfo(module, "signer"), modinfo(module, "sig_hashalgo")) == (SIGNER, "sha256")
    check_signature(module, key, tmp_path)

    assert command("--release", release, "--remove") == 0
    assert capsys.readouterr().out == f"removed: {module}\n"
    assert not module.parent.exists()
    assert command("--release", release, "--remove") == 0
    assert capsys.readouterr().out == f"nothing to remove: there is no {module}\n"


@pytest.mark.parametrize("each", RELEASES)
def test_each_kernel_s_headers_have_what_signs(each: str, key: signing.Key, a_module: Path, tmp_path: Path) -> None:
    assert signing.sign(a_module, each, key) == "sha256"
    check_signature(a_module, key, tmp_path)


def test_a_new_one_takes_the_place_of_the_old_one_at_once(release: str, a_module: Path) -> None:
    to = installation.install(a_module, release)
    with to.open("rb") as old:
        content = a_module.read_bytes()
        a_module.write_bytes(b"another one")
        part = to.parent / f".{stap.MODULE}-killed"
        part.touch()
        assert installation.install(a_module, release) == to
        assert old.read() == content  # who loads it meanwhile gets all of the old one
        assert to.read_bytes() == b"another one"
        assert not part.exists()


def test_what_fails_leaves_nothing(release: str, a_module: Path) -> None:
    to = installation.install(a_module, release)
    a_module.unlink()
    with pytest.raises(SystemTapError):
        installation.install(a_module, release)
    assert list(to.parent.iterdir()) == [to]


@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o775, 0), (0o755, 65534)])
def test_a_directory_that_others_may_write_to_is_refused(release: str, a_module: Path, mode: int, owner: int) -> None:
    directory = installation.place(stap.MODULE, release).parent
    directory.mkdir()
    directory.chmod(mode)
    os.chown(directory, owner, 0)
    with pytest.raises(
        SystemTapError, match=r"users other than root may write there.*`sudo chown root:root .*chmod 755"
    ):
        installation.install(a_module, release)
    assert not list(directory.iterdir())


def test_what_else_is_there_stays(release: str, a_module: Path) -> None:
    to = installation.install(a_module, release)
    other = to.with_name("another.ko")
    other.touch()
    assert installation.remove(stap.MODULE, release)
    assert list(to.parent.iterdir()) == [other]


def test_a_kernel_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], a_module: Path) -> None:
    assert command("--release", "1.2.3") == 1
    assert "the headers of kernel 1.2.3 are not installed; type `sudo apt install" in capsys.readouterr().err
    with pytest.raises(SystemTapError, match=r"no modules of kernel 1\.2\.3; `ls /lib/modules`"):
        installation.install(a_module, "1.2.3")


def test_who_is_not_root_is_told_before_anything_is_compiled() -> None:
    code = (
        "import os; os.setuid(65534)\nfrom pte_magic.helper import install_module\ninstall_module.installed('x', None)"
    )
    done = subprocess.run(["python", "-c", code], capture_output=True, text=True, check=False)
    assert "SystemTapError: only root may install a module" in done.stderr
    assert re.search(r"type `sudo \S*/(pte-magic|python\S* -m pte_magic) install-module`$", done.stderr.rstrip())


def test_nothing_is_signed_without_need(key: signing.Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "KEYS", (key,))
    assert not toolchain.signed_only()
    assert install_module.key(None, None) is None


def test_where_the_kernel_wants_a_signature_the_key_of_this_machine_is_taken(
    key: signing.Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "signed_only", lambda: True)
    with pytest.raises(SystemTapError, match=r"/var/lib/dkms/mok\.key.*type `.* install-module --key KEY "):
        install_module.key(None, None)
    missing = signing.Key("/nowhere/key", Path("/nowhere/certificate"))
    monkeypatch.setattr(signing, "KEYS", (missing, key))
    assert install_module.key(None, None) == key


@pytest.mark.parametrize("words", [("--key", "/some/key"), ("--certificate", "/some/certificate")])
def test_half_a_key_is_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*words) == 1
    assert "--key and --certificate belong together" in capsys.readouterr().err


def test_a_key_of_another_certificate_is_refused(
    release: str, key: signing.Key, a_module: Path, tmp_path: Path
) -> None:
    other = make_key(tmp_path)
    with pytest.raises(SystemTapError, match=r"sign-file cannot sign with .*key\.pem and .*certificate\.der: "):
        signing.sign(a_module, release, signing.Key(key.private, other.certificate))
