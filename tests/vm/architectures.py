"""The kinds of machine that the lab has: what Debian calls them, their kernels, and how QEMU plays them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SUITES = ("bookworm", "trixie", "forky")
"""Debians whose current kernels are in the lab, oldest first: 6.1, 6.12 and 7.2 when this was written.

No release is named here: what a suite's ``linux-image-amd64`` depends on is asked when the root is built. The roots
themselves are of the last one, the first Debian whose SystemTap compiles for all three.
"""


@dataclass(frozen=True, eq=False)
class Architecture:
    """A kind of machine; all but the first have roots in which none of their programs runs while they are made."""

    name: str
    """What Debian calls it."""
    machine: str
    """What `pte_magic.linux.hardware.machine` calls it."""
    kernels: Mapping[str, tuple[str, ...]]
    """Debian's flavours of the kernel, and of which suites; the flavour is the end of a release's name."""
    qemu: tuple[str, ...]
    """QEMU's program, and the kind of board."""
    cpu: str
    console: str
    """The kernel's name of the first serial port."""
    compiler: str = ""
    """What is appended to the name of the package of a compiler for its kernels, which runs on x86-64."""
    security: bool = True
    """If the kernels of Debian's security team are wanted, too."""
    python: tuple[str, ...] = ()
    """Debian's packages of what pip has no wheels of; the rest then comes without what it depends on."""
    wheels: tuple[str, ...] = ()
    """Platforms whose wheels do."""


AMD64 = Architecture(
    "amd64",
    "x86_64",
    {"amd64": SUITES},
    qemu=("qemu-system-x86_64", "-machine", "q35"),
    cpu="max",  # with 5 levels of page tables
    console="ttyS0",
)
ARM64 = Architecture(
    "arm64",
    "arm64",
    {"arm64": SUITES, "arm64-16k": SUITES[-1:]},
    qemu=("qemu-system-aarch64", "-machine", "virt"),
    cpu="max,pauth-impdef=on",  # the architected algorithm of pointer authentication is slow to emulate
    console="ttyAMA0",
    compiler="-aarch64-linux-gnu",
    wheels=tuple(f"manylinux{glibc}_aarch64" for glibc in ("2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28")),
)
I386 = Architecture(
    "i386",
    "x86_32",
    {"686": SUITES[:1], "686-pae": SUITES[:1]},  # Debian's last ones
    qemu=("qemu-system-x86_64", "-machine", "q35"),  # the program for 32 bits has no memory above 4 GiB
    cpu="max",
    console="ttyS0",
    security=False,  # of a suite that is no longer supported, the index of packages may be missing
    python=tuple(
        f"python3-{name}"
        for name in (
            *("hatchling", "hypothesis", "ipykernel", "ipython", "ipywidgets", "nbclient", "nbconvert", "nbformat"),
            *("numpy", "pandas", "psygnal", "pytest", "tqdm", "typing-extensions"),
        )
    ),
)
FOREIGN = (ARM64, I386)
ALL = (AMD64, *FOREIGN)
