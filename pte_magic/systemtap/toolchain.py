"""The installed parts of SystemTap, and what this user may do with them."""

from __future__ import annotations

import functools
import grp
import os
import platform
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from pte_magic.errors import SystemTapError
from pte_magic.linux import hardware, kernel_text

SCRIPTS = Path(__file__).parents[1] / "stap"
"""The scripts that come with the package."""

TAPSET = SCRIPTS / "tapset"
"""Functions for users' scripts; the directory goes to ``stap -I``."""

_LOCKDOWN = Path("/sys/kernel/security/lockdown")
_SIGNED_ONLY = Path("/sys/module/module/parameters/sig_enforce")
_DISABLED = Path("/proc/sys/kernel/modules_disabled")
_MODULES = Path("/proc/modules")


_CROSS = {
    "arm64": ("-a", "arm64", "-B", "ARCH=arm64", "-B", "CROSS_COMPILE=aarch64-linux-gnu-"),
    "x86_32": ("-a", "i386", "-B", "ARCH=i386"),  # with the compiler of x86-64
}


def options_for(machine: str | None) -> tuple[str, ...]:
    """Return stap's options to compile for an architecture: none for that of this host.

    The kernel's headers and a compiler for it have to be installed.

    Args:
        machine: The architecture, a name as in `hardware.machine`; that of this host if None.

    Raises:
        SystemTapError: The options for it are not known.

    """
    if machine in {None, hardware.machine()}:
        return ()
    if machine not in _CROSS:
        message = f"modules for {machine} cannot be compiled on {hardware.machine()}"
        raise SystemTapError(message)
    return _CROSS[machine]


def loads_nothing() -> str | None:
    """Return why no user can load a module here, and what to type; None without a known reason."""
    if not _MODULES.exists():
        return "this kernel loads no modules (CONFIG_MODULES is off)"
    if _says(_DISABLED, "1"):
        return "loading modules was turned off until the next boot (/proc/sys/kernel/modules_disabled)"
    if shutil.which("staprun", os.F_OK) is None:  # only members of stapusr may execute it
        return "staprun is not installed; type `sudo apt install systemtap` (or `dnf install systemtap`)"
    return None


def cannot_load(*, installed: bool = False) -> str | None:
    """Return why this user cannot load a module compiled here, and what to type; None without a known reason.

    Args:
        installed: The module is in the administrator's directory for the group stapusr.

    """
    if why := loads_nothing():
        return why
    if os.geteuid() == 0:
        return None
    missing = [name for name in ("stapusr",) + (() if installed else ("stapdev",)) if not _member(name)]
    if not missing:
        return None
    return (
        f"not root, and not in the group {' and '.join(missing)}; type `sudo usermod --append --groups "
        f"{','.join(missing)} {_user()}` and log in again"
    )


def cannot_compile(release: str | None = None) -> str | None:
    """Return why no module can be compiled for a kernel (the running one if None), and what to type; None if it can."""
    release = release or platform.release()
    if shutil.which("stap") is None:
        return "stap is not installed; type `sudo apt install systemtap` (or `dnf install systemtap`)"
    if not Path("/lib/modules", release, "build", "Makefile").exists():
        return (
            f"the headers of kernel {release} are not installed; type `sudo apt install linux-headers-{release}` "
            f"(or `dnf install kernel-devel-{release}`)"
        )
    return None


SIGNED = "this kernel takes signed modules only (Secure Boot), so SystemTap's key has to be enrolled once"


def signed_only() -> bool:
    """Tell whether the kernel takes signed modules only, as it does under Secure Boot."""
    return _says(_SIGNED_ONLY, "Y") or "[none]" not in _text(_LOCKDOWN, "[none]")


@functools.cache
def version() -> str:
    """Return the first line of ``stap -V``: the version of SystemTap and of its libraries; empty without stap."""
    if shutil.which("stap") is None:
        return ""
    told = subprocess.run(["stap", "-V"], capture_output=True, text=True, check=False)
    return (told.stdout + told.stderr).partition("\n")[0].strip()


def number() -> str:
    """Return SystemTap's version, such as ``5.6``; empty if it is not installed."""
    found = re.search(r"version (\d+[\d.]*)", version())
    return found[1] if found else ""


def _says(path: Path, word: str) -> bool:
    return _text(path, "").strip() == word


def _text(path: Path, default: str) -> str:
    try:
        return kernel_text.text(path)
    except OSError:
        return default


def _member(group: str) -> bool:
    try:
        return grp.getgrnam(group).gr_gid in {os.getegid(), *os.getgroups()}
    except KeyError:
        return False


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
