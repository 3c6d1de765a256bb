"""Compiles the eBPF programs into the wheel, so that users need no compiler: one object each for all architectures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = (Path("pte_magic", "walkers", "bpf", "walk.bpf.c"), Path("pte_magic", "events", "faults.bpf.c"))
# BTF comes with the debugging information; no path of this machine shall.
_FLAGS = ["-O2", "-g", "-Wall", "-Werror", "-fdebug-compilation-dir=."]


def clang() -> str | None:
    """Return a clang that can compile for eBPF, if there is one."""
    found = shutil.which("clang")
    if found is None:
        return None
    targets = subprocess.run([found, "--print-targets"], capture_output=True, text=True, check=False)
    return found if "bpfel" in targets.stdout else None


def command(source: Path) -> list[str]:
    """Return the command that compiles a program, in its directory."""
    files = ["-c", source.name, "-o", source.with_suffix(".o").name]
    found = clang()
    if found is not None:
        return [found, "-target", "bpfel", "-mcpu=v3", *_FLAGS, *files]
    return [sys.executable, "-m", "ziglang", "cc", "-target", "bpfel-freestanding-none", *_FLAGS, *files]


class EbpfBuildHook(BuildHookInterface[Any]):
    """Runs clang, or else the clang within PyPI's ziglang, which is a build requirement only then."""

    def dependencies(self) -> list[str]:
        """Return what the build needs besides hatchling."""
        return [] if clang() else ["ziglang>=0.13"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the programs; the files land in the wheel, and in the tree for an editable install."""
        del version, build_data
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
            for source in SOURCES:
                subprocess.run(command(source), cwd=Path(self.root, source).parent, env=environment, check=True)
