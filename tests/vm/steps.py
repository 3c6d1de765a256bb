"""Builds the lab's root: Debian, kernels of older ones too, Python packages, and a disk of all that for the guests."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

import foreign
import kernels
from architectures import ALL, AMD64, FOREIGN, SUITES
from chroot import TREE, in_root, isolated
from recipe import APT, DPKG, PACKAGES, PYTHON, requirements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from architectures import Architecture
    from kernels import Kernel

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """Print a line of progress, with the seconds since the program began."""
    sys.stdout.write(f"lab: {time.monotonic() - _BEGAN:4.0f} s  {text}\n")
    sys.stdout.flush()


def build(home: Path) -> None:
    """Make ``home/root`` and ``home/root.img``, and the same for other architectures, each in a directory of its name.

    What the programs print is in ``home/log``.
    """
    root = home / "root"
    with (home / "log").open("a", encoding="utf-8") as log, ThreadPoolExecutor(1) as pool:
        unpacked = pool.submit(for_all_foreign, foreign.debian, home, log)
        say(f"Debian {SUITES[-1]}")
        debian(root, log)
        say("asking for the newest kernels")
        found = newest_kernels(root, log)
        say(f"kernels {', '.join(kernel.release for kernel in found)}")
        install_kernels(root, found, log)
        step(root, log, f"python3 -m venv {PYTHON}")
        unpacked.result()
        others = pool.submit(for_all_foreign, complete, home, found, log)
        say("Python packages")
        python(root, log)
        others.result()  # they unpack headers of their kernels here
        step(root, log, "rm -rf /var/lib/apt/lists /var/cache/apt")
        say("the guests' disk")
        disk(root, root, home / "root.img", log)


def for_all_foreign(work: Callable[..., None], home: Path, *more: object) -> None:
    """Do something for one architecture after the other; where an interrupt kills a program, no other is started."""
    for architecture in FOREIGN:
        work(home, architecture, *more)


def complete(home: Path, architecture: Architecture, found: list[Kernel], log: IO[str]) -> None:
    """Put kernels and Python's packages into another architecture's root, and make its disk."""
    say(f"{architecture.name}: kernels and Python packages")
    own = [kernel for kernel in found if kernel.architecture == architecture]
    root, tree = home / "root", home / architecture.name / "root"
    foreign.kernels(tree, own, lambda command, **options: step(root, log, command, **options))
    foreign.settings(root, tree)
    foreign.python(tree, architecture, lambda command, **options: step(root, log, command, **options))
    say(f"{architecture.name}: the guests' disk")
    disk(root, tree, home / architecture.name / "root.img", log)
    say(f"{architecture.name}: ready")


def step(root: Path, log: IO[str], command: str, writes: Mapping[str, Path] | None = None) -> str:
    """Run a line of shell in the root, with the network as the host has it; return what it printed.

    `writes` are directories outside that it may write to, by the path in the root.
    """
    binds = {
        str(path): path for path in map(Path, ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf")) if path.exists()
    }
    env = {"DEBIAN_FRONTEND": "noninteractive", "INITRD": "No"}  # guests get an initramfs of ours
    env |= {name: value for name, value in os.environ.items() if re.match(r"PIP_|\w+_proxy$", name, re.IGNORECASE)}
    env = {name: value for name, value in env.items() if not value.startswith("/")}  # paths of the host
    if authorities := ssl.get_default_verify_paths().cafile:
        binds[AUTHORITIES] = Path(authorities)
        env |= {"PIP_CERT": AUTHORITIES, "SSL_CERT_FILE": AUTHORITIES}
    done = in_root(root, command, env=env, binds=binds, writes=writes, writable=True, check=False)
    log.write(f"$ {command}\n{done.stdout}")
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
    (apt / "sources.list").unlink()
    for suite in SUITES:
        text = _sources(sources.replace(newest, suite), suite)
        (apt / f"sources.list.d/{suite}.list").write_text(text, encoding="utf-8")
    pins = "\n".join(f"Package: *\nPin: release n={suite}*\nPin-Priority: 100\n" for suite in older)
    (apt / "preferences.d/lab").write_text(pins, encoding="utf-8")
    names = "".join(f'"{one.name}"; ' for one in ALL)
    (apt / "apt.conf.d/lab").write_text(f"APT::Architectures {{ {names}}};\n", encoding="utf-8")


def _sources(lines: str, suite: str) -> str:
    """Let a suite's lines be of those architectures whose kernels are taken from there."""

    def narrowed(found: re.Match[str]) -> str:
        wanted = [one for one in ALL if one is AMD64 or any(suite in suites for suites in one.kernels.values())]
        names = ",".join(one.name for one in wanted if one.security or "security" not in found[2])
        return f"deb [{found[1] or ''} arch={names}] {found[2]}"

    return re.sub(r"^deb (?:\[(.*?)\] )?(\S+)", narrowed, lines, flags=re.MULTILINE)


def newest_kernels(root: Path, log: IO[str]) -> list[Kernel]:
    """Return the kernels of all architectures."""
    step(root, log, "apt-get --quiet=2 update")
    return kernels.newest(lambda names: step(root, log, f"apt-cache show {' '.join(names)}"))


def install_kernels(root: Path, found: list[Kernel], log: IO[str]) -> None:
    """Install this architecture's kernels, and what compiles modules for all."""
    own = [kernel for kernel in found if kernel.architecture is AMD64]
    wanted = [name for kernel in own for name in (kernel.packages[0], kernel.headers)]
    wanted += [name for kernel in found if kernel not in own for name in kernel.common]
    step(root, log, f"apt-get --quiet=2 --yes install {' '.join(dict.fromkeys(wanted))}")


def python(root: Path, log: IO[str]) -> None:
    """Make a virtual environment that finds the project where the tree will be."""
    wanted = " ".join(f"'{line}'" for line in requirements())
    step(root, log, f"{PYTHON}/bin/pip install --quiet --quiet --no-cache-dir {wanted}")
    step(root, log, f"echo {TREE} > $(echo {PYTHON}/lib/python3*/site-packages)/pte-magic.pth")
    step(root, log, foreign.warm(f"{PYTHON}/bin/python"))


def disk(root: Path, tree: Path, image: Path, log: IO[str]) -> None:
    """Make a disk image of all files of a tree: a guest reads a disk much sooner than files of the host."""
    command = f"""
        set -e
        size=$(du --summarize --apparent-size --block-size=1M /mnt/tree | cut -f1)
        mke2fs -q -t ext4 -O ^has_journal -m 0 -i 8192 -d /mnt/tree /mnt/image/{image.name} $((size * 5 / 4 + 200))M
    """
    in_root(root, command, binds={"/mnt/tree": tree}, writes={"/mnt/image": image.parent}, stdout=log)
