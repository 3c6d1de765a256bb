"""Which kernels Debian has for each architecture, and of which packages each consists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from architectures import ALL, Architecture

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Kernel:
    """A kernel, and the packages that it is in and that modules for it are compiled with."""

    architecture: Architecture
    release: str
    """Such as 6.1.0-56-amd64."""
    packages: tuple[str, ...]
    """The kernel with its modules."""
    headers: str
    common: tuple[str, ...]
    """What compiles modules for it, packages for x86-64: to compile is to run programs there."""


def newest(show: Callable[[list[str]], str]) -> list[Kernel]:
    """Return the kernels that the suites' ``linux-image-FLAVOUR`` stand for; `show` is ``apt-cache show``, slow."""
    names = {(one, flavour): f"linux-image-{flavour}" for one in ALL for flavour in one.kernels}
    known = _depends(show([f"{name}:{one.name}" for (one, _), name in names.items()]))
    found = []
    for (one, flavour), name in names.items():
        releases: dict[str, str] = {}
        needs = " ".join(known.get((name, one.name), []))
        for release in re.findall(r"linux-image-(\d\S+)", needs):  # of each suite apt shows the newest version first
            releases.setdefault(".".join(release.split(".")[:2]), release)
        found += [(one, release) for release in list(releases.values())[: len(one.kernels[flavour])]]
    parts = _depends(
        show([f"linux-{part}-{release}:{one.name}" for one, release in found for part in ("image", "headers")])
    )
    return [_kernel(one, release, parts) for one, release in found]


def _kernel(architecture: Architecture, release: str, known: dict[tuple[str, str], list[str]]) -> Kernel:
    image, headers = f"linux-image-{release}", f"linux-headers-{release}"
    needs = known[image, architecture.name][0]
    # Since 7.0, modules and what starts them are in packages of their own.
    parts = re.findall(rf"linux-(?:base|binary|modules)-{re.escape(release)}(?![\w-])", needs)
    needs = known[headers, architecture.name][0]
    common = re.findall(r"linux-(?:headers-\S+-common|kbuild-[^\s,]+)", needs)
    common += [f"gcc-{version}{architecture.compiler}" for version in re.findall(r"\bgcc-(\d+)", needs)]
    return Kernel(architecture, release, (image, *dict.fromkeys(parts)), headers, (*dict.fromkeys(common),))


def _depends(shown: str) -> dict[tuple[str, str], list[str]]:
    """Return what packages depend on, the newest version first, by their names and architectures."""
    found: dict[tuple[str, str], list[str]] = {}
    for stanza in shown.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Architecture|Depends): (.*)", stanza, re.MULTILINE))
        if "Package" in fields:
            found.setdefault((fields["Package"], fields["Architecture"]), []).append(fields.get("Depends", ""))
    return found
