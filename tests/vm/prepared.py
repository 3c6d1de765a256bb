"""The lab's root with the modules that its guests load: compiled outside, in seconds, not inside, in minutes."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chroot import TREE, in_root
from rootfs import LabError, locked, ready

if TYPE_CHECKING:
    import subprocess

    from rootfs import Root, System

COMPILE = ("python", f"{TREE}/tests/vm/guest/precompile.py")


def prepared(*kernels: str, few: bool = False) -> Root:
    """Return the root when what guests with these kernels, or all, will load has been compiled.

    Of cells only a `few`, those of tests that run in each kernel; or all, with those of the tutorials and of README.
    """
    root = ready()
    root.work.mkdir(exist_ok=True)
    wanted = [root.find(kernel) for kernel in kernels]
    wanted = wanted or [(system, release) for system in root.systems for release in system.releases]

    def command(system: System, release: str) -> list[str]:
        return [*COMPILE, *["--few"] * few, "--machine", system.architecture.machine, release]

    def compiler(one: tuple[System, str]) -> subprocess.CompletedProcess[str]:
        system, release = one
        with locked(root.work / f"{release}.lock", f"compiles for kernel {release}"):  # the same, if two did it at once
            return in_root(root.files, command(system, release), check=False)

    with ThreadPoolExecutor(2) as pool:
        for (_, release), done in zip(wanted, pool.map(compiler, wanted), strict=True):
            if done.returncode:
                message = f"the modules for kernel {release} were not compiled:\n{done.stdout[-3000:]}"
                raise LabError(message)
            sys.stdout.write(done.stdout)
            sys.stdout.flush()
    return root
