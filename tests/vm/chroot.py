"""Programs in the lab's root, run by the host's own kernel: to build the root, and to compile modules quickly."""

from __future__ import annotations

import shlex
import subprocess
from typing import IO, TYPE_CHECKING

from recipe import PROJECT, PYTHON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TREE, WORK = "/srv/pte-magic", "/var/lib/pte-magic-lab"
"""Where root and guests see the project's tree, read-only, and a directory to write to that the host sees too."""

ENVIRONMENT = {
    "PATH": f"{PYTHON}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "XDG_CACHE_HOME": f"{WORK}/cache",
    "SYSTEMTAP_DIR": f"{WORK}/cache/systemtap",  # else in the home directory, which is not kept
}

# All mounts are in a private mount namespace: nothing of the host's can ever be below a tree that is removed later,
# and nothing has to be unmounted. The small /dev has only what cannot do harm.
SCRIPT = """
set -e
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
ln -s /proc/self/fd "$root/dev/fd"
mkdir -m 1777 "$root/dev/shm"
{mounts}
chroot "$root" "$@"
exit 0
"""


def isolated(command: Sequence[str], *more: str) -> list[str]:
    """Put a command into namespaces of its own: once it or this process ends, nothing runs on or stays mounted.

    `more` are further options of unshare(1), such as ``--net``.
    """
    namespaces = [
        "unshare",
        "--mount",
        "--propagation=private",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        *more,
    ]
    return ["setpriv", "--pdeathsig=KILL", "--", *namespaces, "--", *command]


def in_root(  # noqa: PLR0913  (each has a default that fits most callers)
    root: Path,
    command: str | Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    binds: Mapping[str, Path] | None = None,
    writes: Mapping[str, Path] | None = None,
    writable: bool = False,
    check: bool = True,
    timeout: float | None = None,
    stdout: int | IO[str] | None = subprocess.PIPE,
    stderr: int | IO[str] | None = subprocess.STDOUT,
) -> subprocess.CompletedProcess[str]:
    """Run a command, or a line of shell, as root in `root`; return its status and output.

    It sees the project at `TREE`, read-only, and ``root/../work`` at `WORK`; `binds` are further read-only ones, by
    the path in the root, and `writes` those that it may write to. The root itself is read-only, but for /tmp, /run and
    the home directory, which vanish.
    """
    words = ["sh", "-c", command] if isinstance(command, str) else [*command]
    work = root.parent / "work"
    work.mkdir(exist_ok=True)
    mounts = [_bind(root, inside, outside) for inside, outside in {TREE: PROJECT, **(binds or {})}.items()]
    mounts += [_bind(root, inside, outside, mode="rw") for inside, outside in {WORK: work, **(writes or {})}.items()]
    if not writable:
        mounts += [f'mount -t tmpfs tmpfs "$root/{name}"' for name in ("root", "run", "tmp", "var/tmp")]
        mounts.append('mount -o remount,bind,ro "$root"')
    return subprocess.run(
        isolated(["sh", "-c", SCRIPT.format(mounts="\n".join(mounts)), "sh", str(root), *words]),
        env={**ENVIRONMENT, **(env or {})},
        check=check,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
    )


def _bind(root: Path, inside: str, outside: Path, mode: str = "ro") -> str:
    """Make the place where something is bound; return the line of shell that binds it."""
    place = root / inside.lstrip("/")
    if outside.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    source, target = shlex.quote(str(outside)), shlex.quote(str(place))
    return f"mount --bind {source} {target}\nmount -o remount,bind,{mode} {target}"
