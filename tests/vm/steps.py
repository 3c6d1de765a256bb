"""Builds the lab's root: Debian, kernels of older ones too, Python packages, and a disk of all that for the guests."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from chroot import TREE, WORK, in_root, isolated
from recipe import APT, DPKG, PACKAGES, PYTHON, SUITES, requirements

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

PROPERTY = """
from hypothesis import given, strategies

@given(strategies.integers())
def test_it(number):
    assert number == number
"""

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """Print a line of progress, with the seconds since the program began."""
    sys.stdout.write(f"lab: {time.monotonic() - _BEGAN:4.0f} s  {text}\n")
    sys.stdout.flush()


def build(home: Path) -> None:
    """Make ``home/root`` and ``home/root.img``; what the programs print is in ``home/log``."""
    root = home / "root"
    with (home / "log").open("w", encoding="utf-8") as log:
        say(f"Debian {SUITES[-1]}")
        debian(root, log)
        say("asking for the newest kernels")
        releases = newest_kernels(root, log)
        say(f"kernels {', '.join(releases)}")
        packages = " ".join(f"linux-{what}-{release}" for release in releases for what in ("image", "headers"))
        step(root, log, f"apt-get --quiet=2 --yes install {packages}")
        step(root, log, "rm -rf /var/lib/apt/lists /var/cache/apt")
        say("Python packages")
        python(root, log)
        say("the guests' disk")
        disk(root, log)


def step(root: Path, log: IO[str], command: str) -> str:
    """Run a line of shell in the root, with the network as the host has it; return what it printed."""
    binds = {
        str(path): path for path in map(Path, ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf")) if path.exists()
    }
    env = {"DEBIAN_FRONTEND": "noninteractive", "INITRD": "No"}  # guests get an initramfs of ours
    env |= {name: value for name, value in os.environ.items() if re.match(r"PIP_|\w+_proxy$", name, re.IGNORECASE)}
    env = {name: value for name, value in env.items() if not value.startswith("/")}  # paths of the host
    if authorities := ssl.get_default_verify_paths().cafile:
        binds[AUTHORITIES] = Path(authorities)
        env |= {"PIP_CERT": AUTHORITIES, "SSL_CERT_FILE": AUTHORITIES}
    log.write(f"$ {command}\n")
    done = in_root(root, command, env=env, binds=binds, writable=True, check=False)
    log.write(done.stdout)
    log.flush()
    done.check_returncode()
    return done.stdout


def debian(root: Path, log: IO[str]) -> None:
    """Make a root of the newest suite that knows the older suites too, and takes from them only what it lacks."""
    options = [f'--aptopt={name} "{value}"' for name, value in APT.items()] + [f"--dpkgopt={line}" for line in DPKG]
    include = f"--include={','.join(PACKAGES)}"
    *older, newest = SUITES
    command = isolated(["mmdebstrap", "--mode=root", "--variant=apt", *options, include, newest, str(root)])
    env = {**os.environ, "TMPDIR": str(root.parent)}  # what it leaves when it is killed goes with the rest
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    apt = root / "etc/apt"
    sources = (apt / "sources.list").read_text(encoding="utf-8")
    for suite in older:
        (apt / f"sources.list.d/{suite}.list").write_text(sources.replace(newest, suite), encoding="utf-8")
    pins = "\n".join(f"Package: *\nPin: release n={suite}*\nPin-Priority: 100\n" for suite in older)
    (apt / "preferences.d/lab").write_text(pins, encoding="utf-8")


def newest_kernels(root: Path, log: IO[str]) -> list[str]:
    """Return the release that each suite's ``linux-image-amd64`` stands for, such as 6.1.0-56-amd64."""
    step(root, log, "apt-get --quiet=2 update")
    known = step(root, log, "apt-cache show linux-image-amd64")
    newest: dict[str, str] = {}
    for release in re.findall(r"linux-image-(\d\S+)", known):  # of each suite apt shows the newest version first
        newest.setdefault(".".join(release.split(".")[:2]), release)
    return list(newest.values())


def python(root: Path, log: IO[str]) -> None:
    """Make a virtual environment that finds the project where the tree will be."""
    wanted = " ".join(f"'{line}'" for line in requirements())
    step(root, log, f"python3 -m venv {PYTHON}")
    step(root, log, f"{PYTHON}/bin/pip install --quiet --quiet --no-cache-dir {wanted}")
    step(root, log, f"echo {TREE} > $(echo {PYTHON}/lib/python3*/site-packages)/pte-magic.pth")
    # pytest rewrites its plugins, of which Hypothesis is one, and keeps the result: here once, else in every guest.
    (root / "tmp/test_it.py").write_text(PROPERTY, encoding="utf-8")
    step(root, log, f"cd /tmp && {PYTHON}/bin/python -m pytest -p no:cacheprovider test_it.py")
    step(root, log, "rm -rf /tmp/* /tmp/.hypothesis")


def disk(root: Path, log: IO[str]) -> None:
    """Make a disk image of all files of the root: a guest reads a disk much sooner than files of the host."""
    command = """
        set -e
        size=$(du --summarize --apparent-size --block-size=1M /mnt/root | cut -f1)
        mke2fs -q -t ext4 -O ^has_journal -m 0 -i 8192 -d /mnt/root $WORK/root.img $((size * 5 / 4 + 200))M
    """
    in_root(root, command.replace("$WORK", WORK), binds={"/mnt/root": root}, stdout=log)
    (root.parent / "work/root.img").rename(root.parent / "root.img")
