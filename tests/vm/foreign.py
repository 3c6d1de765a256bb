"""Roots of other architectures: unpacked, and completed by programs of the x86-64 root. Nothing of them is run."""

from __future__ import annotations

import os
import subprocess
from typing import IO, TYPE_CHECKING, Protocol

from architectures import SUITES, Architecture
from chroot import TREE, isolated
from recipe import APT, DPKG, FOREIGN_PACKAGES, NO_DRIVERS, NO_FILES, PURE, PYTHON, requirements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kernels import Kernel

PLACE = "/mnt/foreign"

PROPERTY = """
from hypothesis import given, strategies

@given(strategies.integers())
def test_it(number):
    assert number == number
"""


def warm(interpreter: str) -> str:
    """Return a line of shell that runs a test.

    pytest rewrites its plugins, of which Hypothesis is one, and keeps the result: here once, else in every guest.
    """
    run = f"{interpreter} -m pytest -p no:cacheprovider test_it.py"
    return f"cd $(mktemp --directory) && echo '{PROPERTY}' > test_it.py && {run} && rm -r $PWD"


class Step(Protocol):
    """Runs a line of shell in the x86-64 root; `writes` are directories outside, by the path inside."""

    def __call__(self, command: str, *, writes: Mapping[str, Path]) -> str: ...


def debian(home: Path, architecture: Architecture, log: IO[str]) -> None:
    """Unpack packages of the newest suite."""
    root = home / architecture.name / "root"
    root.parent.mkdir()
    options = [f'--aptopt={name} "{value}"' for name, value in APT.items()] + [f"--dpkgopt={line}" for line in DPKG]
    include = f"--include={','.join((*FOREIGN_PACKAGES, *architecture.python))}"
    how = ("--mode=root", f"--architectures={architecture.name}", "--variant=extract", "--skip=check/qemu")
    command = isolated(["mmdebstrap", *how, *options, include, SUITES[-1], str(root)])
    env = {**os.environ, "TMPDIR": str(root.parent)}  # what it leaves when it is killed goes with the rest
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)


def kernels(tree: Path, found: list[Kernel], step: Step) -> None:
    """Unpack kernels into the root of another architecture, `tree`, and their headers into x86-64's."""
    without = " ".join(f"--exclude='*{path}'" for path in (*(f"/{name}" for name in NO_DRIVERS), *NO_FILES))
    for kernel in found:
        name = kernel.architecture.name
        packages = " ".join(f"{package}:{name}" for package in (*kernel.packages, kernel.headers))
        # Packages of bookworm have files in /lib, which is a link.
        unpack = f"tar --extract --keep-directory-symlink {without}"
        step(
            f"""
            set -e
            mkdir --parents {PLACE}.debs
            cd {PLACE}.debs
            apt-get --quiet=2 download {packages}
            for package in *.deb; do
                case $package in linux-headers-*) to=/ ;; *) to={PLACE} ;; esac
                dpkg-deb --fsys-tarfile $package | {unpack} --directory=$to
            done
            cd /
            rm -r {PLACE}.debs
            [ -e {PLACE}/boot/vmlinuz-{kernel.release} ] ||
                ln {PLACE}/usr/lib/modules/{kernel.release}/vmlinuz {PLACE}/boot/vmlinuz-{kernel.release}
            depmod --basedir {PLACE} {kernel.release}
            """,
            writes={PLACE: tree},
        )


def settings(root: Path, tree: Path) -> None:
    """Configure the packages as those of x86-64 are: by its files in /etc, and links to the alternatives there."""
    script = """
        set -e
        cp --archive "$1/etc/." "$2/etc"
        rm --force "$2/etc/ld.so.cache"
        cd "$1"
        find usr -type l -lname '/etc/alternatives/*' | while read -r link; do
            [ -L "$2/$link" ] || [ ! -d "$2/${link%/*}" ] || cp --archive "$link" "$2/$link"
        done
        for library in "$2"/usr/lib/*/blas/lib*.so.* "$2"/usr/lib/*/lapack/lib*.so.*; do  # alternatives, too
            [ ! -e "$library" ] || ln --symbolic --force --relative "$library" "${library%/*/*}/"
        done
        find usr -type f '(' -perm /6000 -o ! -group 0 -o ! -user 0 ')' | while read -r file; do
            [ -e "$2/$file" ] || continue
            chown --reference "$file" "$2/$file"
            chmod --reference "$file" "$2/$file"
        done
    """
    subprocess.run(["sh", "-c", script, "sh", root, tree], check=True)


def python(tree: Path, architecture: Architecture, step: Step) -> None:
    """Make a virtual environment like that of x86-64, of the same Python."""
    packages = step(f"echo {PYTHON}/lib/python3*/site-packages", writes={}).strip()
    for folder in (packages, f"{PYTHON}/bin"):
        (tree / folder.lstrip("/")).mkdir(parents=True)
    where = {PLACE: tree}
    wanted = [line for line in requirements() if not line.startswith("ziglang")] if architecture.wheels else [*PURE]
    how = " ".join(f"--platform {name}" for name in architecture.wheels or ("any",))
    if architecture.python:
        how += " --no-deps"
    step(
        f"""
        set -e
        {PYTHON}/bin/pip install --quiet --quiet --no-cache-dir --no-compile --only-binary=:all: {how} \\
            --target {PLACE}{packages} {" ".join(f"'{line}'" for line in wanted)}
        echo {TREE} > {PLACE}{packages}/pte-magic.pth
        cd {PLACE}{PYTHON}
        for folder in bin etc share; do  # pip puts all below its target
            [ ! -d {PLACE}{packages}/$folder ] || cp --archive {PLACE}{packages}/$folder .
            rm -rf {PLACE}{packages}/$folder
        done
        ln --symbolic /usr/bin/python3 bin/python3
        ln --symbolic python3 bin/python
        sed 's/^\\(include-system-site-packages = \\).*/\\1{"true" if architecture.python else "false"}/' \\
            {PYTHON}/pyvenv.cfg > pyvenv.cfg
        """,
        writes=where,
    )
    step(
        f"""
        {PYTHON}/bin/python -m compileall -qq -j 2 -s {PLACE} -p / {PLACE}/usr/lib/python3* {PLACE}{PYTHON}/lib \
            || true  # there are files that are wrong on purpose
        """,
        writes=where,
    )
    if architecture.python:  # else Hypothesis has a part that does not run here
        place = "/usr/lib/python3/dist-packages"
        step(warm("/usr/bin/python3"), writes={place: tree / place.lstrip("/")})
