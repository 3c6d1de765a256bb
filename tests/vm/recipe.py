"""What the lab's root is made of, and the hash that names a root made of just that."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]

PACKAGES = (
    *("systemtap", "gcc", "make", "libc6-dev"),  # compiles modules for all the kernels
    *("python3", "python3-venv", "libbpf1"),
    *("busybox-static", "iproute2", "kmod", "mount", "procps", "util-linux"),  # what a guest starts with
    *("e2fsprogs", "less", "nano"),  # for tests with file systems, and for people
    *("passwd", "sudo", "systemd"),  # for the helper's service, and an ordinary user of it
)
COMPILERS = {"systemtap", "gcc", "make", "libc6-dev", "python3-venv"}
ESSENTIAL = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip", "hostname"),
    *("libc-bin", "login", "mawk", "netbase", "sed", "systemtap-runtime", "tar", "tzdata"),
)
"""What another architecture's root has in place of the compilers, as it is made of nothing but what is named."""
FOREIGN_PACKAGES = tuple(sorted(({*PACKAGES} - COMPILERS) | {*ESSENTIAL}))

PYTHON = "/opt/pte-magic"
"""The virtual environment: where `make service` would make one, and finds all that it would have to download."""

APT = {
    "Acquire::Check-Valid-Until": "false",  # a mirror may be frozen at some day
    "Acquire::Languages": "none",
    "APT::Install-Recommends": "false",
}

NO_DRIVERS = (  # of hardware that no guest has: most of a kernel's size
    *(f"drivers/{kind}" for kind in ("gpu", "iio", "infiniband", "media", "scsi", "staging")),
    *("drivers/net/ethernet", "drivers/net/wireless", "sound"),
)
NO_FILES = (
    *(f"/usr/share/{name}" for name in ("doc", "info", "lintian", "locale", "man")),
    *(f"{usr}/lib/modules/*/kernel/{name}" for usr in ("", "/usr") for name in NO_DRIVERS),
)
DPKG = ("force-unsafe-io", *(f"path-exclude={path}/*" for path in NO_FILES))

NOT_IN_GUESTS = {
    *("argcomplete", "argparse-manpage", "axe-playwright-python", "mypy", "pandas-stubs", "playwright", "resvg-py"),
    "ruff",
}
"""They check, make a page of the manual or a picture, and drive a shell and a browser that are not there."""
COMPILER = "ziglang>=0.13"
"""What compiles the eBPF program where there is no clang (hatch_build.py)."""


PURE = ("anywidget>=0.9",)
"""What the other architectures' pip installs where all else is a package of Debian."""


def requirements() -> list[str]:
    """Return what pip installs: all that the project and its notebooks and tests need, but for the linters."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    wanted = [*project["dependencies"], *optional["lab"], *optional["test"], COMPILER]
    return sorted(line for line in wanted if re.split(r"[^\w.-]", line)[0] not in NOT_IN_GUESTS)


def digest() -> str:
    """Return the name of the root: another one as soon as a list here or a step of the build changes."""
    files = (HERE / f"{name}.py" for name in ("architectures", "foreign", "kernels", "recipe", "steps"))
    parts = [*(path.read_bytes() for path in files), repr(requirements()).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
