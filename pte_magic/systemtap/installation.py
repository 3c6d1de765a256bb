"""Modules installed for members of the group stapusr: ``/lib/modules/RELEASE/systemtap``.

SystemTap lets them load modules from this directory only, and only if directory and module belong to root and nobody
else may write to them (``check_stap_module_path()`` of staprun).
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.errors import SystemTapError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def place(name: str, release: str | None = None) -> Path:
    """Return the path of the module `name` for a kernel, the running one if None; it may not exist."""
    return Path("/lib/modules", release or platform.release(), "systemtap", f"{name}.ko")


def install(module: Path, release: str) -> Path:
    """Install a module, atomically: a user who loads it meanwhile gets the old one or the new one.

    Args:
        module: The file, which may be removed afterwards.
        release: The kernel that it was compiled for.

    Returns:
        Its path; it belongs to root, mode 0644.

    Raises:
        SystemTapError: It cannot be installed; says why and what to type.

    """
    to = place(module.stem, release)
    with _explained(to):
        if not to.parent.parent.is_dir():
            message = (
                f"there are no modules of kernel {release}; `ls /lib/modules` lists the kernels that are installed"
            )
            raise SystemTapError(message)
        if not to.parent.exists():
            to.parent.mkdir()
            to.parent.chmod(0o755)
        _only_root_may_write(to.parent)
        for left in to.parent.glob(f".{module.stem}-*"):  # by somebody who was killed
            left.unlink()
        descriptor, part = tempfile.mkstemp(prefix=f".{module.stem}-", dir=to.parent)
        try:
            with os.fdopen(descriptor, "wb") as file, module.open("rb") as source:
                shutil.copyfileobj(source, file)
                os.fchown(descriptor, 0, 0)
                os.fchmod(descriptor, 0o644)
                file.flush()
                os.fsync(descriptor)
            Path(part).rename(to)
        except BaseException:
            Path(part).unlink()
            raise
    return to


def remove(name: str, release: str) -> bool:
    """Remove a module, and the directory if it is then empty; return whether there was one.

    A loaded module stays loaded.

    Raises:
        SystemTapError: It cannot be removed; says why and what to type.

    """
    there = place(name, release)
    with _explained(there):
        try:
            there.unlink()
        except FileNotFoundError:
            return False
    with suppress(OSError):
        there.parent.rmdir()
    return True


def _only_root_may_write(directory: Path) -> None:
    found = directory.stat()
    if found.st_uid or found.st_mode & _OTHERS_MAY_WRITE:
        message = (
            f"{directory}: users other than root may write there, and so could load anything into the kernel; type "
            f"`sudo chown root:root {directory}` and `sudo chmod 755 {directory}`"
        )
        raise SystemTapError(message)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        message = f"{path}: permission denied; do it as root, with `sudo`"
        raise SystemTapError(message) from error
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise SystemTapError(message) from error
