"""``pte-magic install-module``: installs the module of the walker stap for users without privileges."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pte_magic.errors import SystemTapError
from pte_magic.systemtap import installation, module_cache, signing, toolchain
from pte_magic.walkers import stap
from pte_magic.walkers.what_to_type import command

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_FOR_USERS = """Members of the group stapusr see raw entries with it, without page frames. To add a user:
  sudo usermod --append --groups stapusr {user}
and log in again. After an update of the kernel or of pte-magic, run this once more."""

_ENROLLED = """The kernel takes it if the certificate is enrolled:
  mokutil --test-key {certificate}
tells that; `sudo mokutil --import {certificate}` and a reboot enroll it."""

_NO_KEY = (
    "this kernel takes signed modules only, and there is none of the keys that distributions make ({keys}); type "
    "`{command} --key KEY --certificate CERTIFICATE`"
)


def install_module(given: argparse.Namespace) -> None:
    """Install or remove the module, and print the steps.

    Raises:
        SystemTapError: It cannot be done; says why.

    """
    said = removed(given.release) if given.remove else installed(given.release, key(given.key, given.certificate))
    print(said)  # noqa: T201  (a command says what it did)


def installed(release: str, signed_with: signing.Key | None) -> str:
    """Compile the module, sign it if there is a key, and install it.

    Args:
        release: The kernel.
        signed_with: The key, or None.

    Returns:
        The steps, and what to type next.

    Raises:
        SystemTapError: It cannot be done; says why and what to type.

    """
    if os.geteuid():
        message = f"only root may install a module; type `{command('install-module')}`"
        raise SystemTapError(message)
    said = [f"compiled by SystemTap {toolchain.number()} for kernel {release}"]
    with module_cache.fresh(stap.script(), release) as module:
        if signed_with:
            how = signing.sign(module, release, signed_with)
            said.append(f"signed with {signed_with.private} ({how})")
        else:
            said.append("not signed: this kernel takes modules without a signature, too")
        said.append(f"installed: {installation.install(module, release)}")
    if signed_with:
        said += ["", _ENROLLED.format(certificate=signed_with.certificate)]
    return "\n".join([*said, "", _FOR_USERS.format(user=os.environ.get("SUDO_USER", "USER"))])


def removed(release: str) -> str:
    """Remove the module; return the steps.

    Raises:
        SystemTapError: It cannot be done; says why and what to type.

    """
    there = installation.place(stap.MODULE, release)
    if installation.remove(stap.MODULE, release):
        return f"removed: {there}"
    return f"nothing to remove: there is no {there}"


def key(private: str | None, certificate: Path | None) -> signing.Key | None:
    """Return the named key, or that of this host if its kernel needs a signature.

    Raises:
        SystemTapError: There is no key, or only half of one; says what to type.

    """
    if private and certificate:
        return signing.Key(private, certificate)
    if private or certificate:
        message = "--key and --certificate belong together; name both"
        raise SystemTapError(message)
    if not toolchain.signed_only():
        return None
    if found := signing.key_of_this_machine():
        return found
    raise SystemTapError(
        _NO_KEY.format(keys=", ".join(one.private for one in signing.KEYS), command=command("install-module"))
    )
