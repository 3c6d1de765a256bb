"""Signatures of modules, for kernels that take signed modules only, as under Secure Boot.

Modules are signed by ``scripts/sign-file``, which comes with the kernel's headers (Documentation/admin-guide/
module-signing.rst). The kernel trusts the key if its certificate was enrolled as a Machine Owner Key, with ``mokutil``.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pte_magic.errors import SystemTapError
from pte_magic.linux import kernel_text

_HASH = "sha256"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs modules.

    Attributes:
        private: The key, PEM; or another form that ``sign-file`` takes, such as a URI of PKCS #11.
        certificate: Its certificate, X.509, DER or PEM.

    """

    private: str
    certificate: Path


KEYS = (
    Key("/var/lib/dkms/mok.key", Path("/var/lib/dkms/mok.pub")),  # DKMS, on every distribution
    Key("/var/lib/shim-signed/mok/MOK.priv", Path("/var/lib/shim-signed/mok/MOK.der")),  # Debian, Ubuntu: shim-signed
    Key("/etc/pki/akmods/private/private_key.priv", Path("/etc/pki/akmods/certs/public_key.der")),  # Fedora: akmods
)
"""Machine Owner Keys that distributions make, for modules that are compiled on the machine."""


def key_of_this_machine() -> Key | None:
    """Return the first of `KEYS` that exists and is readable; None if there is none."""
    return next((key for key in KEYS if Path(key.private).exists() and key.certificate.exists()), None)


def sign(module: Path, release: str, key: Key) -> str:
    """Append a signature to a module, in place.

    Args:
        module: The module.
        release: The kernel.
        key: The key.

    Returns:
        The hash function, the same as for the kernel's own modules.

    Raises:
        SystemTapError: It cannot be signed; says why and what to type.

    """
    program = _sign_file(release)
    how = _hash(release)
    command = [str(program), how, key.private, str(key.certificate), str(module)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        message = f"{program} cannot sign with {key.private} and {key.certificate}: {said}"
        raise SystemTapError(message)
    return how


def _sign_file(release: str) -> Path:
    for tree in ("build", "source"):  # Debian splits the headers in two, and has the programs with the common ones
        program = Path("/lib/modules", release, tree, "scripts/sign-file")
        if program.exists():
            return program
    message = (
        f"scripts/sign-file of kernel {release} is not installed; type `sudo apt install linux-headers-{release}` "
        f"(or `dnf install kernel-devel-{release}`)"
    )
    raise SystemTapError(message)


def _hash(release: str) -> str:
    for path in (Path("/lib/modules", release, "build/.config"), Path(f"/boot/config-{release}")):
        try:
            found = re.search(r'^CONFIG_MODULE_SIG_HASH="(.+)"$', kernel_text.text(path), re.MULTILINE)
        except OSError:
            continue
        if found:
            return found[1]
    return _HASH
