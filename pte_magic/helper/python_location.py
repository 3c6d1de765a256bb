"""The place of the running Python, and the users who can run or change it: a service runs it, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pte_magic.helper import policy
from pte_magic.helper.policy import HelperError

SERVE = (sys.executable, "-P", "-m", "pte_magic", "serve")
"""The command that serves; -P keeps the current directory out of its path."""
HOW = "`sudo make service` in the source tree of pte-magic, which installs it in /opt/pte-magic"
"""The command that installs where all may read, and only root may write."""

_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))  # what ProtectHome= hides
_NOBODY = 65534


def check_reachable() -> None:
    """Raise an error unless a user without files of its own can run this Python with this package.

    Raises:
        HelperError: It cannot; says why and what to type.

    """
    try:
        done = subprocess.run(  # noqa: S603  (this Python, and a constant)
            [*SERVE, "--help"],
            user=_NOBODY, group=_NOBODY, extra_groups=[], capture_output=True, text=True, errors="backslashreplace",
            check=False, cwd="/",
        )  # fmt: skip
    except PermissionError as error:
        why = str(error.strerror)
    else:
        why = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1]
    if why:
        message = f"the service's own user cannot run {sys.executable} ({why}); type {HOW}"
        raise HelperError(message)


def places() -> list[Path]:
    """Return the paths of Python and of its imports, by all their names."""
    imported = sys.path[not sys.flags.safe_path :]  # without the script's directory
    given = [sys.executable, sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]), *imported]
    names = {name for path in given if path for name in (Path(path).absolute(), Path(path).resolve())}
    return sorted(name for name in names if name.exists())


def in_a_home() -> bool:
    """Tell whether a part of it is in a user's home."""
    return any(path.is_relative_to(home) for path in places() for home in _HOMES)


def others() -> list[str]:
    """Return the places that users other than root may change, with their owners: all below such a directory counts."""
    found: list[Path] = []
    for path in sorted({above for place in places() for above in (place, *place.parents)}):
        about = path.stat()
        sticky = about.st_mode & 0o1000
        by_others = about.st_mode & 0o002 or (about.st_mode & 0o020 and about.st_gid)
        if (about.st_uid or (by_others and not sticky)) and not any(path.is_relative_to(upper) for upper in found):
            found.append(path)
    return [f"{path} (of user {path.stat().st_uid}, group {policy.name_of(path.stat().st_gid)})" for path in found]
