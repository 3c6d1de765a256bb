"""The names of the lab's kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rootfs import LabError, Root

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = {
    "": ("6.1.0-56-amd64", "6.12.118+deb13-amd64", "7.2.12+deb14-amd64"),
    "arm64": ("6.1.0-56-arm64", "6.12.118+deb13-arm64", "7.2.12+deb14-arm64", "7.2.12+deb14-arm64-16k"),
    "i386": ("6.1.0-50-686", "6.1.0-50-686-pae"),
}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    for name, releases in RELEASES.items():
        boot = tmp_path / name / "root/boot"
        boot.mkdir(parents=True)
        for release in releases:
            (boot / f"vmlinuz-{release}").touch()
    return Root(tmp_path)


@pytest.mark.parametrize(
    ("name", "machine", "release"),
    [
        ("6.1", "x86_64", "6.1.0-56-amd64"),
        ("trixie", "x86_64", "6.12.118+deb13-amd64"),
        ("newest", "x86_64", "7.2.12+deb14-amd64"),
        ("6.12-arm64", "arm64", "6.12.118+deb13-arm64"),
        ("newest-arm64", "arm64", "7.2.12+deb14-arm64"),
        ("7.2-arm64-16k", "arm64", "7.2.12+deb14-arm64-16k"),
        ("forky-arm64-16k", "arm64", "7.2.12+deb14-arm64-16k"),
        ("6.1-686", "x86_32", "6.1.0-50-686"),
        ("bookworm-686-pae", "x86_32", "6.1.0-50-686-pae"),
    ],
)
def test_a_kernel_has_several_names(root: Root, name: str, machine: str, release: str) -> None:
    system, found = root.find(name)
    assert (system.architecture.machine, found) == (machine, release)


@pytest.mark.parametrize("name", ["6.13", "6.12-686", "trixie-686", "6.1-arm64-16k", "riscv64", ""])
def test_a_name_of_none_is_told_with_those_that_there_are(root: Root, name: str) -> None:
    with pytest.raises(LabError, match=rf"^kernel '{name}': the lab has 6\.1\.0-56-amd64, .*6\.1\.0-50-686-pae; give"):
        root.find(name)
